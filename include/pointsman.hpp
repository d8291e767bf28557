// pointsman for C++17: owning types over pointsman.h, header-only, without exceptions.
//
// Nothing is decided here: every function calls the C function of the same name, whose description
// in pointsman.h holds. Types own what they stand for and can be moved, not copied. Functions that
// can fail return a result, which has either a value or an error.
//
//     auto router = pointsman::router::make(R"({"policy": "cache_aware"})");
//     if (!router) return log(router.error().message);
//     auto added = router->add_worker(pointsman::worker_spec("http://10.0.0.7:8000"));
//     if (!added) return log(added.error().message);
//
//     pointsman::request request = pointsman::request::json(body);
//     if (auto chosen = router->select(request)) {
//         send(body, chosen->worker());        // dropping it gives the load back as cancelled
//         auto done = chosen->complete(pointsman::outcome_of_http_status(200));
//         if (!done) log(done.error().message);
//     }
//
// Nothing that a host's own code throws leaves through the library: what is called back here is either
// noexcept or, where it makes a policy, counts as having refused.
#ifndef POINTSMAN_HPP
#define POINTSMAN_HPP

#include <cassert>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "pointsman.h"

namespace pointsman {

// Why a call failed: one of the POINTSMAN_ status codes, and the message that goes with it.
struct error {
    pointsman_status code;
    std::string message;

    // The error of the call on this thread that has just returned this code.
    static error last(pointsman_status code) { return error{code, pointsman_last_error()}; }
};

// A value, or the error that came instead.
template <class T>
class [[nodiscard]] result {
  public:
    result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    result(pointsman::error error) : held_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const noexcept { return held_.index() == 0; }
    bool has_value() const noexcept { return held_.index() == 0; }

    // The value; only where there is one.
    T &value() & noexcept { return *checked(std::get_if<0>(&held_)); }
    const T &value() const & noexcept { return *checked(std::get_if<0>(&held_)); }
    T &&value() && noexcept { return std::move(*checked(std::get_if<0>(&held_))); }
    T &operator*() & noexcept { return value(); }
    const T &operator*() const & noexcept { return value(); }
    T &&operator*() && noexcept { return std::move(*this).value(); }
    T *operator->() noexcept { return &value(); }
    const T *operator->() const noexcept { return &value(); }

    // The error; only where there is no value.
    const pointsman::error &error() const noexcept { return *checked(std::get_if<1>(&held_)); }

  private:
    template <class P>
    static P *checked(P *pointer) noexcept {
        assert(pointer != nullptr);
        return pointer;
    }

    std::variant<T, pointsman::error> held_;
};

// Success, or an error.
template <>
class [[nodiscard]] result<void> {
  public:
    result() = default;
    result(pointsman::error error) : error_(std::move(error)) {}

    // What a call of the C interface has returned.
    static result of(pointsman_status code) {
        return code == POINTSMAN_OK ? result() : result(pointsman::error::last(code));
    }

    explicit operator bool() const noexcept { return !error_; }
    bool has_value() const noexcept { return !error_; }
    const pointsman::error &error() const noexcept {
        assert(error_);
        return *error_;
    }

  private:
    std::optional<pointsman::error> error_;
};

// A worker's id.
enum class worker_id : std::uint64_t { none = 0 };

enum class role : std::uint32_t {
    regular = POINTSMAN_ROLE_REGULAR,
    prefill = POINTSMAN_ROLE_PREFILL,
    decode = POINTSMAN_ROLE_DECODE,
};

enum class health : std::uint32_t {
    passive = POINTSMAN_HEALTH_PASSIVE,
    healthy = POINTSMAN_HEALTH_HEALTHY,
    unhealthy = POINTSMAN_HEALTH_UNHEALTHY,
};

enum class outcome : std::uint32_t {
    success = POINTSMAN_OUTCOME_SUCCESS,
    client_cancelled = POINTSMAN_OUTCOME_CLIENT_CANCELLED,
    client_error = POINTSMAN_OUTCOME_CLIENT_ERROR,
    worker_error = POINTSMAN_OUTCOME_WORKER_ERROR,
    timeout = POINTSMAN_OUTCOME_TIMEOUT,
    overloaded = POINTSMAN_OUTCOME_OVERLOADED,
};

// How a request ended; pointsman_completion with names.
class completion {
  public:
    completion(outcome how = outcome::success) { raw_.outcome = static_cast<std::uint32_t>(how); }

    completion &retry_after(std::uint64_t nanoseconds) { return raw_.retry_after = nanoseconds, *this; }
    completion &prompt_tokens(std::uint32_t tokens) { return raw_.prompt_tokens = tokens, *this; }
    completion &cached_tokens(std::uint32_t tokens) { return raw_.cached_tokens = tokens, *this; }
    completion &completion_tokens(std::uint32_t tokens) {
        return raw_.completion_tokens = tokens, *this;
    }
    completion &blame(role which) {
        return raw_.blamed_role = static_cast<std::uint32_t>(which), *this;
    }
    completion &at(std::uint64_t now) { return raw_.now = now, *this; }

    const pointsman_completion *raw() const noexcept { return &raw_; }

  private:
    pointsman_completion raw_ = POINTSMAN_COMPLETION_INIT;
};

// What the status of an HTTP response, and the nanoseconds that its Retry-After header asks for, say about
// the worker; see pointsman_outcome_of_http_status. What is no status of HTTP counts as a worker's error.
inline completion outcome_of_http_status(std::uint32_t status, std::uint64_t retry_after = 0) {
    pointsman_completion raw = POINTSMAN_COMPLETION_INIT;
    if (pointsman_outcome_of_http_status(status, retry_after, &raw) != POINTSMAN_OK) {
        return outcome::worker_error;
    }
    return completion(static_cast<outcome>(raw.outcome)).retry_after(raw.retry_after);
}

namespace detail {

inline pointsman_label label_of(std::string_view key, std::string_view value) {
    pointsman_label label = POINTSMAN_LABEL_INIT;
    label.key = key.data();
    label.key_length = key.size();
    label.value = value.data();
    label.value_length = value.size();
    return label;
}

}  // namespace detail

// What a worker is. Owns its texts.
class worker_spec {
  public:
    explicit worker_spec(std::string_view url) : url_(url) {}

    worker_spec &role(pointsman::role which) {
        return raw_.role = static_cast<std::uint32_t>(which), *this;
    }
    worker_spec &weight(double weight) { return raw_.weight = weight, *this; }
    worker_spec &group(std::string_view group) { return group_ = group, *this; }
    worker_spec &kv_capacity_tokens(std::uint64_t tokens) {
        return raw_.kv_capacity_tokens = tokens, *this;
    }
    worker_spec &max_in_flight(std::uint32_t requests) { return raw_.max_in_flight = requests, *this; }
    worker_spec &user_data(std::uint64_t number) { return raw_.user_data = number, *this; }
    worker_spec &label(std::string_view key, std::string_view value) {
        labels_.emplace_back(key, value);
        return *this;
    }

    // Calls with the C struct, which borrows from this object, and returns what comes back.
    template <class Call>
    auto lend(Call &&call) const {
        std::vector<pointsman_label> labels;
        labels.reserve(labels_.size());
        for (const auto &[key, value] : labels_) labels.push_back(detail::label_of(key, value));
        pointsman_worker_spec raw = raw_;
        raw.url = url_.data();
        raw.url_length = url_.size();
        if (group_) {
            raw.group = group_->data();
            raw.group_length = group_->size();
        }
        raw.labels = labels.data();
        raw.label_count = static_cast<std::uint32_t>(labels.size());
        return call(raw);
    }

  private:
    pointsman_worker_spec raw_ = POINTSMAN_WORKER_SPEC_INIT;
    std::string url_;
    std::optional<std::string> group_;
    std::vector<std::pair<std::string, std::string>> labels_;
};

// One request to be routed. Borrows the texts, tokens and fingerprint that it is given until it has been
// routed; lists of workers it owns.
class request {
  public:
    request() = default;

    static request text(std::string_view prompt) {
        return {POINTSMAN_PROMPT_TEXT, prompt.data(), prompt.size()};
    }
    static request tokens(const std::uint32_t *tokens, std::size_t count) {
        return {POINTSMAN_PROMPT_TOKENS, tokens, count};
    }
    static request json(std::string_view body) {
        return {POINTSMAN_PROMPT_JSON, body.data(), body.size()};
    }
    static request fingerprint(const pointsman_fingerprint &fingerprint) {
        return {POINTSMAN_PROMPT_FINGERPRINT, &fingerprint, 0};
    }

    request &cache_namespace(std::string_view space) {
        raw_.cache_namespace = space.data();
        raw_.cache_namespace_length = space.size();
        return *this;
    }
    request &routing_key(std::string_view key) {
        raw_.routing_key = key.data();
        raw_.routing_key_length = key.size();
        return *this;
    }
    request &exclude(std::vector<worker_id> ids) { return excluded_ = std::move(ids), *this; }
    // None at all allows nobody.
    request &allow(std::vector<worker_id> ids) { return allowed_ = std::move(ids), *this; }
    // Slot s is bit s % 64 of word s / 64. None at all allows nobody.
    request &allow_slots(std::vector<std::uint64_t> words) {
        return allowed_words_ = std::move(words), *this;
    }
    request &label(std::string_view key, std::string_view value) {
        labels_.push_back(detail::label_of(key, value));
        return *this;
    }
    request &expected_output_tokens(std::uint32_t tokens) {
        return raw_.expected_output_tokens = tokens, *this;
    }
    request &at(std::uint64_t now) { return raw_.now = now, *this; }

    // The C struct, which borrows from this object.
    pointsman_request raw() const noexcept {
        // Where a list without members begins, so that it is not taken for no list.
        static const std::uint64_t nobody = 0;
        pointsman_request raw = raw_;
        raw.labels = labels_.data();
        raw.label_count = labels_.size();
        raw.excluded = reinterpret_cast<const std::uint64_t *>(excluded_.data());
        raw.excluded_count = excluded_.size();
        if (allowed_) {
            raw.allowed = allowed_->empty()
                              ? &nobody
                              : reinterpret_cast<const std::uint64_t *>(allowed_->data());
            raw.allowed_count = allowed_->size();
        }
        if (allowed_words_) {
            raw.allowed_words = allowed_words_->empty() ? &nobody : allowed_words_->data();
            raw.allowed_words_count = allowed_words_->size();
        }
        return raw;
    }

  private:
    request(std::uint32_t kind, const void *prompt, std::size_t length) {
        raw_.prompt_kind = kind;
        raw_.prompt = prompt;
        raw_.prompt_length = length;
    }

    pointsman_request raw_ = POINTSMAN_REQUEST_INIT;
    std::vector<pointsman_label> labels_;
    std::vector<worker_id> excluded_;
    std::optional<std::vector<worker_id>> allowed_;
    std::optional<std::vector<std::uint64_t>> allowed_words_;
};

// A ticket that closes itself as cancelled by the client. Its router must outlive it.
class ticket {
  public:
    ticket(pointsman_router *router, std::uint64_t number) noexcept
        : router_(router), number_(number) {}
    ticket(ticket &&other) noexcept : router_(other.router_), number_(other.release()) {}
    ticket &operator=(ticket &&other) noexcept {
        if (this != &other) {
            cancel();
            router_ = other.router_;
            number_ = other.release();
        }
        return *this;
    }
    ~ticket() { cancel(); }

    std::uint64_t number() const noexcept { return number_; }
    // Gives the duty to complete the request to the caller.
    std::uint64_t release() noexcept { return std::exchange(number_, 0); }

    result<void> first_token(std::uint32_t cached_tokens, std::uint64_t now) {
        return result<void>::of(pointsman_first_token(router_, number_, cached_tokens, now));
    }
    result<void> progress(std::uint64_t now) {
        return result<void>::of(pointsman_progress(router_, number_, now));
    }
    result<void> complete(const completion &end) {
        return result<void>::of(pointsman_complete(router_, release(), end.raw()));
    }

  private:
    void cancel() noexcept {
        if (number_ != 0) {
            (void)pointsman_complete(router_, release(), completion(outcome::client_cancelled).raw());
        }
    }

    pointsman_router *router_;
    std::uint64_t number_;
};

// One worker of a selection, and why it was chosen.
class chosen {
  public:
    explicit chosen(const pointsman_selection &raw) noexcept : raw_(raw) {}

    worker_id worker() const noexcept { return worker_id{raw_.worker}; }
    std::uint64_t user_data() const noexcept { return raw_.user_data; }
    std::uint32_t reason() const noexcept { return raw_.reason; }
    std::string_view reason_name() const noexcept { return pointsman_reason_string(raw_.reason); }
    std::uint32_t matched_tokens() const noexcept { return raw_.matched_tokens; }
    std::uint32_t total_tokens() const noexcept { return raw_.total_tokens; }
    double score() const noexcept { return raw_.score; }
    worker_id runner_up() const noexcept { return worker_id{raw_.runner_up}; }
    double runner_up_score() const noexcept { return raw_.runner_up_score; }
    const pointsman_selection &raw() const noexcept { return raw_; }

  private:
    pointsman_selection raw_;
};

namespace detail {

// What one worker and a pair have in common: the ticket.
class open {
  public:
    std::uint64_t ticket() const noexcept { return ticket_.number(); }
    // Gives the duty to complete the request to the caller.
    std::uint64_t release() noexcept { return ticket_.release(); }
    result<void> first_token(std::uint32_t cached_tokens = POINTSMAN_UNKNOWN,
                             std::uint64_t now = POINTSMAN_NOW) {
        return ticket_.first_token(cached_tokens, now);
    }
    result<void> progress(std::uint64_t now = POINTSMAN_NOW) { return ticket_.progress(now); }
    // Once: afterwards the selection holds nothing.
    result<void> complete(const completion &end = completion()) { return ticket_.complete(end); }

  protected:
    open(pointsman_router *router, std::uint64_t number) noexcept : ticket_(router, number) {}

  private:
    pointsman::ticket ticket_;
};

}  // namespace detail

// The worker chosen for a request. Dropping it gives the load back as cancelled.
class selection : public detail::open, public chosen {
  public:
    selection(pointsman_router *router, const pointsman_selection &raw) noexcept
        : open(router, raw.ticket), chosen(raw) {}
};

// The workers chosen for a prefill/decode pair, under one ticket.
class pair_selection : public detail::open {
  public:
    pair_selection(pointsman_router *router, const pointsman_selection &prefill,
                   const pointsman_selection &decode) noexcept
        : open(router, prefill.ticket), prefill_(prefill), decode_(decode) {}

    const chosen &prefill() const noexcept { return prefill_; }
    const chosen &decode() const noexcept { return decode_; }

  private:
    chosen prefill_, decode_;
};

// A router. Every member function may be called by any number of threads at once.
class router {
  public:
    // Takes over a router of the C interface.
    explicit router(pointsman_router *raw) noexcept : raw_(raw) {}

    static result<router> make(std::string_view config = {}) {
        pointsman_router *raw = nullptr;
        const pointsman_status code = pointsman_router_new(config.data(), config.size(), &raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return router(raw);
    }

    pointsman_router *raw() const noexcept { return raw_.get(); }

    result<worker_id> add_worker(const worker_spec &spec, std::uint64_t now = POINTSMAN_NOW) {
        std::uint64_t id = 0;
        const pointsman_status code = spec.lend([&](const pointsman_worker_spec &raw) {
            return pointsman_worker_add(raw_.get(), &raw, now, &id);
        });
        if (code != POINTSMAN_OK) return error::last(code);
        return worker_id{id};
    }
    result<void> remove_worker(worker_id id, std::uint64_t now = POINTSMAN_NOW) {
        return of(pointsman_worker_remove(raw_.get(), number(id), now));
    }
    result<void> drain_worker(worker_id id, bool draining = true) {
        return of(pointsman_worker_drain(raw_.get(), number(id), draining ? 1 : 0));
    }
    result<void> set_weight(worker_id id, double weight) {
        return of(pointsman_worker_set_weight(raw_.get(), number(id), weight));
    }
    result<void> set_max_in_flight(worker_id id, std::uint32_t requests) {
        return of(pointsman_worker_set_max_in_flight(raw_.get(), number(id), requests));
    }
    result<void> set_health(worker_id id, health state) {
        const auto raw = static_cast<std::uint32_t>(state);
        return of(pointsman_worker_set_health(raw_.get(), number(id), raw));
    }
    result<void> report_load(worker_id id, const pointsman_load &load) {
        return of(pointsman_worker_report_load(raw_.get(), number(id), &load));
    }
    result<worker_id> find_worker(std::string_view url) const {
        std::uint64_t id = 0;
        const pointsman_status code =
            pointsman_worker_find(raw_.get(), url.data(), url.size(), &id);
        if (code != POINTSMAN_OK) return error::last(code);
        return worker_id{id};
    }
    result<std::string> worker_url(worker_id id) const {
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_worker_url(raw_.get(), number(id), buffer, capacity, length);
        });
    }
    result<pointsman_worker_info> describe_worker(worker_id id,
                                                  std::uint64_t now = POINTSMAN_NOW) const {
        pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
        const pointsman_status code =
            pointsman_worker_describe(raw_.get(), number(id), now, &info);
        if (code != POINTSMAN_OK) return error::last(code);
        return info;
    }
    result<std::vector<worker_id>> workers() const {
        std::vector<worker_id> ids(16);
        for (;;) {
            std::size_t count = 0;
            const pointsman_status code = pointsman_workers(
                raw_.get(), reinterpret_cast<std::uint64_t *>(ids.data()), ids.size(), &count);
            if (code != POINTSMAN_OK && code != POINTSMAN_BUFFER_TOO_SMALL) return error::last(code);
            ids.resize(count);
            if (code == POINTSMAN_OK) return ids;
        }
    }

    result<selection> select(const request &request) {
        const pointsman_request raw = request.raw();
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        const pointsman_status code = pointsman_select(raw_.get(), &raw, &chosen);
        if (code != POINTSMAN_OK) return error::last(code);
        return selection(raw_.get(), chosen);
    }
    result<pair_selection> select_pair(const request &request) {
        const pointsman_request raw = request.raw();
        pointsman_selection prefill = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
        const pointsman_status code = pointsman_select_pair(raw_.get(), &raw, &prefill, &decode);
        if (code != POINTSMAN_OK) return error::last(code);
        return pair_selection(raw_.get(), prefill, decode);
    }
    // For tickets whose number was released.
    result<void> first_token(std::uint64_t ticket, std::uint32_t cached_tokens = POINTSMAN_UNKNOWN,
                             std::uint64_t now = POINTSMAN_NOW) {
        return of(pointsman_first_token(raw_.get(), ticket, cached_tokens, now));
    }
    result<void> progress(std::uint64_t ticket, std::uint64_t now = POINTSMAN_NOW) {
        return of(pointsman_progress(raw_.get(), ticket, now));
    }
    result<void> complete(std::uint64_t ticket, const completion &end = completion()) {
        return of(pointsman_complete(raw_.get(), ticket, end.raw()));
    }
    // The prompt's fingerprint, as many hashes as there is room for. It borrows them.
    result<pointsman_fingerprint> fingerprint(const request &request,
                                              std::vector<std::uint64_t> &hashes) const {
        const pointsman_request raw = request.raw();
        pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
        const pointsman_status code = pointsman_fingerprint_request(
            raw_.get(), &raw, hashes.data(), hashes.size(), &fingerprint);
        if (code != POINTSMAN_OK) return error::last(code);
        return fingerprint;
    }
    // The record of a decision as one line of JSON.
    result<std::string> print(const chosen &chosen) const {
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_selection_print(raw_.get(), &chosen.raw(), buffer, capacity, length);
        });
    }

    // The name of the policy that regular requests are chosen by.
    result<std::string> policy() const {
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_policy(raw_.get(), buffer, capacity, length);
        });
    }
    result<void> set_policy(std::string_view policy) {
        return of(pointsman_router_set_policy(raw_.get(), policy.data(), policy.size()));
    }
    // An empty one leaves that role to policy.
    result<void> set_policies(std::string_view policy, std::string_view prefill,
                              std::string_view decode) {
        return of(pointsman_router_set_policies(raw_.get(), policy.data(), policy.size(),
                                                prefill.data(), prefill.size(), decode.data(),
                                                decode.size()));
    }
    result<void> set_shadow(std::string_view policy) {
        return of(pointsman_router_set_shadow(raw_.get(), policy.data(), policy.size()));
    }
    result<void> set_split(std::string_view policy, double share) {
        return of(pointsman_router_set_split(raw_.get(), policy.data(), policy.size(), share));
    }
    result<void> tick(std::uint64_t now = POINTSMAN_NOW) {
        return of(pointsman_router_tick(raw_.get(), now));
    }
    result<void> after_fork() { return of(pointsman_router_after_fork(raw_.get())); }
    std::uint64_t now() const noexcept { return pointsman_router_now(raw_.get()); }

    result<pointsman_metrics> metrics(std::uint64_t now = POINTSMAN_NOW) const {
        pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
        const pointsman_status code = pointsman_router_metrics(raw_.get(), now, &metrics);
        if (code != POINTSMAN_OK) return error::last(code);
        return metrics;
    }
    // As prometheus without the last line, for hosts that write families of their own behind it.
    result<std::string> prometheus_families(std::uint64_t now = POINTSMAN_NOW) const {
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_prometheus_families(raw_.get(), now, buffer, capacity, length);
        });
    }
    result<std::string> prometheus(std::uint64_t now = POINTSMAN_NOW) const {
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_prometheus(raw_.get(), now, buffer, capacity, length);
        });
    }

  private:
    struct free {
        void operator()(pointsman_router *raw) const noexcept { pointsman_router_free(raw); }
    };

    static std::uint64_t number(worker_id id) noexcept { return static_cast<std::uint64_t>(id); }
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    // Calls a function that fills a buffer until the buffer is large enough.
    template <class Fill>
    static result<std::string> text(Fill &&fill) {
        std::string buffer(256, '\0');
        for (;;) {
            std::size_t length = 0;
            const pointsman_status code = fill(&buffer[0], buffer.size(), &length);
            if (code == POINTSMAN_OK) {
                buffer.resize(length);
                return buffer;
            }
            if (code != POINTSMAN_BUFFER_TOO_SMALL) return error::last(code);
            // Counters may get longer before the next try.
            buffer.resize(length + 256);
        }
    }

    std::unique_ptr<pointsman_router, free> raw_;
};

// What a policy of the host's own decides: the index of a candidate and, as far as the policy knows them,
// the rest of a pointsman_decision.
class choice {
  public:
    choice(std::uint32_t index) noexcept : index_(index) {}

    // The best of those not chosen, and what the policy minimised there.
    choice &runner_up(std::uint32_t index, double score) noexcept {
        runner_up_ = index;
        return runner_up_score_ = score, *this;
    }
    // What the policy minimised, in its own unit.
    choice &score(double score) noexcept { return score_ = score, *this; }
    // Prompt tokens that the worker will have to compute; handed back with the events.
    choice &work_tokens(std::uint32_t tokens) noexcept { return work_tokens_ = tokens, *this; }

    void write(pointsman_decision &decision) const noexcept {
        decision.index = index_;
        decision.runner_up = runner_up_;
        decision.work_tokens = work_tokens_;
        decision.score = score_;
        decision.runner_up_score = runner_up_score_;
    }

  private:
    std::uint32_t index_;
    std::uint32_t runner_up_ = POINTSMAN_NONE;
    std::uint32_t work_tokens_ = 0;
    double score_ = 0;
    double runner_up_score_ = 0;
};

// What a policy of the host's own does. Derive from it and register it by builder::add_policy. Its
// functions are called by many threads at once and are noexcept: what they throw ends the process.
class policy {
  public:
    virtual ~policy() = default;
    // The choice, which may be a mere index, or nothing to refuse all.
    virtual std::optional<choice> select(const pointsman_candidates &candidates,
                                         const pointsman_request_view &request) noexcept = 0;
    virtual void on_event(const pointsman_event &) noexcept {}
};

// Collects what a router shall be.
class builder {
  public:
    static result<builder> make() {
        pointsman_builder *raw = nullptr;
        const pointsman_status code = pointsman_builder_new(&raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return builder(raw);
    }

    pointsman_builder *raw() const noexcept { return raw_.get(); }

    result<void> config(std::string_view document) {
        return of(pointsman_builder_set_config(raw_.get(), document.data(), document.size()));
    }
    result<void> policy(std::string_view policy) {
        return of(pointsman_builder_set_policy(raw_.get(), policy.data(), policy.size()));
    }
    result<void> tree_budget(std::uint64_t bytes) {
        return of(pointsman_builder_set_tree_budget(raw_.get(), bytes));
    }
    result<void> limits(std::uint32_t max_workers, std::uint32_t max_tickets) {
        return of(pointsman_builder_set_limits(raw_.get(), max_workers, max_tickets));
    }
    result<void> hash_key(const std::uint8_t (&key)[32]) {
        return of(pointsman_builder_set_hash_key(raw_.get(), key, sizeof key));
    }
    result<void> seed(std::uint64_t seed) {
        return of(pointsman_builder_set_seed(raw_.get(), seed));
    }
    // What user_data points to must outlive the routers, here and below.
    result<void> log(std::int32_t level, pointsman_log_callback callback, void *user_data) {
        return of(pointsman_builder_set_log(raw_.get(), level, callback, user_data));
    }
    result<void> decision_log(std::uint32_t every, pointsman_decision_callback callback,
                              void *user_data) {
        return of(pointsman_builder_set_decision_log(raw_.get(), every, callback, user_data));
    }
    result<void> health_log(pointsman_health_callback callback, void *user_data) {
        return of(pointsman_builder_set_health_log(raw_.get(), callback, user_data));
    }
    // make is called, with the options as JSON, each time that configuration calls for the policy:
    // {"policy": {"custom": {"name": name, "options": ...}}}. What it returns lives until nothing uses
    // it any more. NULL, or throwing, refuses the options. flags are POINTSMAN_POLICY_WANTS_ bits.
    result<void> add_policy(
        std::string_view name,
        std::function<std::unique_ptr<pointsman::policy>(std::string_view options)> make,
        std::uint32_t flags = 0) {
        using maker = decltype(make);
        pointsman_policy raw = POINTSMAN_POLICY_INIT;
        raw.flags = flags;
        raw.create = [](void *user_data, const char *options, std::size_t length, void **instance) {
            std::unique_ptr<pointsman::policy> made;
#if defined(__cpp_exceptions)
            // The caller is the library: nothing may unwind into it.
            try {
                made = (*static_cast<maker *>(user_data))(std::string_view(options, length));
            } catch (...) {
            }
#else
            made = (*static_cast<maker *>(user_data))(std::string_view(options, length));
#endif
            if (!made) return static_cast<pointsman_status>(POINTSMAN_INVALID_CONFIG);
            *instance = made.release();
            return static_cast<pointsman_status>(POINTSMAN_OK);
        };
        raw.destroy = [](void *instance) { delete static_cast<pointsman::policy *>(instance); };
        raw.release = [](void *user_data) { delete static_cast<maker *>(user_data); };
        raw.select = [](void *instance, const pointsman_candidates *candidates,
                        const pointsman_request_view *request, pointsman_decision *decision) {
            const auto chosen =
                static_cast<pointsman::policy *>(instance)->select(*candidates, *request);
            if (!chosen) return static_cast<pointsman_status>(POINTSMAN_NO_WORKER);
            chosen->write(*decision);
            return static_cast<pointsman_status>(POINTSMAN_OK);
        };
        raw.on_event = [](void *instance, const pointsman_event *event) {
            static_cast<pointsman::policy *>(instance)->on_event(*event);
        };
        auto kept = std::make_unique<maker>(std::move(make));
        raw.user_data = kept.get();
        const pointsman_status code =
            pointsman_builder_add_policy(raw_.get(), name.data(), name.size(), &raw);
        if (code == POINTSMAN_OK) (void)kept.release();
        return of(code);
    }
    result<router> build() const {
        pointsman_router *raw = nullptr;
        const pointsman_status code = pointsman_builder_build(raw_.get(), &raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return router(raw);
    }

  private:
    struct free {
        void operator()(pointsman_builder *raw) const noexcept { pointsman_builder_free(raw); }
    };
    explicit builder(pointsman_builder *raw) noexcept : raw_(raw) {}
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    std::unique_ptr<pointsman_builder, free> raw_;
};

// Fingerprints a prompt that arrives in pieces.
class fingerprinter {
  public:
    static result<fingerprinter> make(const router &router, std::size_t capacity = 4096) {
        pointsman_fingerprinter *raw = nullptr;
        const pointsman_status code = pointsman_fingerprinter_new(router.raw(), capacity, &raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return fingerprinter(raw);
    }

    // kind: POINTSMAN_PROMPT_TEXT or POINTSMAN_PROMPT_JSON.
    result<void> begin(std::uint32_t kind, std::optional<std::string_view> cache_namespace = {}) {
        const char *text = nullptr;
        if (cache_namespace) text = cache_namespace->data() ? cache_namespace->data() : "";
        return of(pointsman_fingerprinter_begin(raw_.get(), kind, text,
                                                cache_namespace ? cache_namespace->size() : 0));
    }
    result<void> push(std::string_view piece) {
        return of(pointsman_fingerprinter_push(raw_.get(), piece.data(), piece.size()));
    }
    // Borrows the fingerprinter's memory until the next begin.
    result<pointsman_fingerprint> finish() {
        pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
        const pointsman_status code = pointsman_fingerprinter_finish(raw_.get(), &fingerprint);
        if (code != POINTSMAN_OK) return error::last(code);
        return fingerprint;
    }
    result<pointsman_body> body() const {
        pointsman_body body = POINTSMAN_BODY_INIT;
        const pointsman_status code = pointsman_fingerprinter_body(raw_.get(), &body);
        if (code != POINTSMAN_OK) return error::last(code);
        return body;
    }

  private:
    struct free {
        void operator()(pointsman_fingerprinter *raw) const noexcept {
            pointsman_fingerprinter_free(raw);
        }
    };
    explicit fingerprinter(pointsman_fingerprinter *raw) noexcept : raw_(raw) {}
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    std::unique_ptr<pointsman_fingerprinter, free> raw_;
};

}  // namespace pointsman

#endif
