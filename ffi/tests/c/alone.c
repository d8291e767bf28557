/* The header by itself, included twice, in C and in C++; every INIT macro, at file and block scope. */
#include <pointsman.h>
#include <pointsman.h>

#if POINTSMAN_VERSION_NUMBER > 655359999 || POINTSMAN_ABI_VERSION < 1
#error "the versions are numbers that the preprocessor knows"
#endif

static const pointsman_request REQUEST = POINTSMAN_REQUEST_INIT;

uint32_t sum(void);

uint32_t sum(void) {
    pointsman_label label = POINTSMAN_LABEL_INIT;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    pointsman_load load = POINTSMAN_LOAD_INIT;
    pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
    pointsman_selection selection = POINTSMAN_SELECTION_INIT;
    pointsman_completion completion = POINTSMAN_COMPLETION_INIT;
    pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
    pointsman_body body = POINTSMAN_BODY_INIT;
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    uint32_t version = POINTSMAN_VERSION_NUMBER;
    return REQUEST.size + label.size + spec.size + load.size + info.size + selection.size +
           completion.size + fingerprint.size + body.size + metrics.size + policy.size + version;
}
