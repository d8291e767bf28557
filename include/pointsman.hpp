/**
 * @file
 * pointsman for C++17: owning types over pointsman.h, header-only, without exceptions.
 *
 * Every function calls the C function of the same name, which pointsman.h describes. Types own what
 * they stand for and can be moved, not copied. Functions that can fail return a result, which has either
 * a value or an error.
 *
 *     auto router = pointsman::router::make(R"({"policy": "cache_aware"})");
 *     if (!router) return log(router.error().message);
 *     auto added = router->add_worker(pointsman::worker_spec("http://10.0.0.7:8000"));
 *     if (!added) return log(added.error().message);
 *
 *     pointsman::request request = pointsman::request::json(body);
 *     if (auto chosen = router->select(request)) {
 *         send(body, chosen->worker());        // dropping it gives the load back as cancelled
 *         auto done = chosen->complete(pointsman::outcome_of_http_status(200));
 *         if (!done) log(done.error().message);
 *     }
 *
 * Selections, pairs, tickets and fingerprinters may outlive their router: the library's own router is
 * freed with the last of them. Each selection counts as one reference, in one place for all threads;
 * router::select_detached does without. Where the last of them goes inside a callback of the library, what
 * it stands for is freed once the call is over that the callback belongs to. A router that was moved away
 * answers POINTSMAN_INVALID_ARGUMENT.
 *
 * No exception of a host's callback passes through the library: callbacks are noexcept, or end the
 * process where they throw; one that makes a policy refuses the options by throwing.
 */
#ifndef POINTSMAN_HPP
#define POINTSMAN_HPP

#include <cassert>
#include <chrono>
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

/** Why a call failed: one of the POINTSMAN_ status codes, and the message that goes with it. */
struct error {
    pointsman_status code;
    std::string message;

    /** The error of the call on this thread that has just returned this code. */
    static error last(pointsman_status code) { return error{code, pointsman_last_error()}; }
};

/** A value, or an error. */
template <class T>
class [[nodiscard]] result {
  public:
    result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    result(pointsman::error error) : held_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const noexcept { return held_.index() == 0; }
    bool has_value() const noexcept { return held_.index() == 0; }

    /** The value; only where there is one. */
    T &value() & noexcept { return *checked(std::get_if<0>(&held_)); }
    const T &value() const & noexcept { return *checked(std::get_if<0>(&held_)); }
    T &&value() && noexcept { return std::move(*checked(std::get_if<0>(&held_))); }
    T &operator*() & noexcept { return value(); }
    const T &operator*() const & noexcept { return value(); }
    T &&operator*() && noexcept { return std::move(*this).value(); }
    T *operator->() noexcept { return &value(); }
    const T *operator->() const noexcept { return &value(); }

    /** The error; only where there is no value. */
    const pointsman::error &error() const noexcept { return *checked(std::get_if<1>(&held_)); }

  private:
    template <class P>
    static P *checked(P *pointer) noexcept {
        assert(pointer != nullptr);
        return pointer;
    }

    std::variant<T, pointsman::error> held_;
};

/** Success, or an error. */
template <>
class [[nodiscard]] result<void> {
  public:
    result() = default;
    result(pointsman::error error) : error_(std::move(error)) {}

    /** What a call of the C interface has returned. */
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

/** A worker's id. */
enum class worker_id : std::uint64_t { none = 0 };

/** What a worker does. */
enum class role : pointsman_role {
    regular = POINTSMAN_ROLE_REGULAR,
    prefill = POINTSMAN_ROLE_PREFILL,
    decode = POINTSMAN_ROLE_DECODE,
};

/** What the host says about a worker's health. */
enum class health : pointsman_health {
    unknown = POINTSMAN_HEALTH_UNKNOWN,
    healthy = POINTSMAN_HEALTH_HEALTHY,
    unhealthy = POINTSMAN_HEALTH_UNHEALTHY,
};

/** A worker's health by outcomes and time. */
enum class health_state : pointsman_state {
    healthy = POINTSMAN_STATE_HEALTHY,
    ejected = POINTSMAN_STATE_EJECTED,
    probation = POINTSMAN_STATE_PROBATION,
};

/** How a request ended. */
enum class outcome : pointsman_outcome {
    success = POINTSMAN_OUTCOME_SUCCESS,
    client_cancelled = POINTSMAN_OUTCOME_CLIENT_CANCELLED,
    client_error = POINTSMAN_OUTCOME_CLIENT_ERROR,
    worker_error = POINTSMAN_OUTCOME_WORKER_ERROR,
    timeout = POINTSMAN_OUTCOME_TIMEOUT,
    overloaded = POINTSMAN_OUTCOME_OVERLOADED,
    /** Reported only by the library. */
    expired = POINTSMAN_OUTCOME_EXPIRED,
};

/** Why a worker was chosen. */
enum class reason : pointsman_reason {
    random = POINTSMAN_REASON_RANDOM,
    round_robin = POINTSMAN_REASON_ROUND_ROBIN,
    power_of_two = POINTSMAN_REASON_POWER_OF_TWO,
    prefix_match = POINTSMAN_REASON_PREFIX_MATCH,
    least_loaded = POINTSMAN_REASON_LEAST_LOADED,
    imbalanced = POINTSMAN_REASON_IMBALANCED,
    least_work = POINTSMAN_REASON_LEAST_WORK,
    routing_key = POINTSMAN_REASON_ROUTING_KEY,
    only_candidate = POINTSMAN_REASON_ONLY_CANDIDATE,
    least_resident = POINTSMAN_REASON_LEAST_RESIDENT,
    custom = POINTSMAN_REASON_CUSTOM,
};

/** The form that a prompt comes in. */
enum class prompt_kind : pointsman_prompt_kind {
    text = POINTSMAN_PROMPT_TEXT,
    tokens = POINTSMAN_PROMPT_TOKENS,
    json = POINTSMAN_PROMPT_JSON,
};

/** How much a log receives; each level includes those above it. */
enum class log_level : pointsman_log_level {
    none = POINTSMAN_LOG_NONE,
    error = POINTSMAN_LOG_ERROR,
    warning = POINTSMAN_LOG_WARNING,
    info = POINTSMAN_LOG_INFO,
    debug = POINTSMAN_LOG_DEBUG,
};

namespace detail {

template <class E>
constexpr std::underlying_type_t<E> number(E value) noexcept {
    return static_cast<std::underlying_type_t<E>>(value);
}

/** A length of time as the C interface has it; a negative one becomes 0. */
constexpr std::uint64_t length_of(std::chrono::nanoseconds length) noexcept {
    return length.count() > 0 ? static_cast<std::uint64_t>(length.count()) : 0;
}

}  // namespace detail

/** The name, as in metrics; "unknown" for a value that has none. */
inline std::string_view name(outcome it) noexcept {
    return pointsman_outcome_string(detail::number(it));
}
inline std::string_view name(reason it) noexcept {
    return pointsman_reason_string(detail::number(it));
}

/**
 * When something happens: by default the router's own clock; else a time of any monotonic clock, the
 * same one for all calls on a router, as a time point or as the time since some start (above 0).
 */
class time {
  public:
    constexpr time() noexcept = default;
    template <class Number, class Period>
    constexpr time(std::chrono::duration<Number, Period> since_beginning) noexcept
        : nanoseconds_(detail::length_of(since_beginning)) {}
    template <class Clock, class Duration>
    constexpr time(std::chrono::time_point<Clock, Duration> point) noexcept
        : time(point.time_since_epoch()) {
        static_assert(Clock::is_steady, "the clock must not be set back");
    }

    /** As the C interface has it. */
    constexpr std::uint64_t raw() const noexcept { return nanoseconds_; }
    constexpr std::chrono::nanoseconds since_beginning() const noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds_));
    }

  private:
    std::uint64_t nanoseconds_ = POINTSMAN_NOW;
};

namespace detail {

inline time time_of(std::uint64_t raw) noexcept {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(raw));
}

}  // namespace detail

/** How a request ended; pointsman_completion with names. */
class completion {
  public:
    completion(outcome how = outcome::success) { raw_.outcome = detail::number(how); }

    completion &retry_after(std::chrono::nanoseconds pause) {
        return raw_.retry_after = detail::length_of(pause), *this;
    }
    completion &prompt_tokens(std::uint32_t tokens) { return raw_.prompt_tokens = tokens, *this; }
    completion &cached_tokens(std::uint32_t tokens) { return raw_.cached_tokens = tokens, *this; }
    completion &completion_tokens(std::uint32_t tokens) {
        return raw_.completion_tokens = tokens, *this;
    }
    /**
     * The counts of an API whose input tokens exclude those that were read from the cache or written into it,
     * such as Anthropic's Messages; each may be POINTSMAN_UNKNOWN.
     */
    completion &usage_excluding_cached(std::uint32_t input_tokens, std::uint32_t cache_read_tokens,
                                       std::uint32_t cache_creation_tokens,
                                       std::uint32_t output_tokens) {
        // It fails for no completion that is one.
        static_cast<void>(pointsman_usage_excluding_cached(
            input_tokens, cache_read_tokens, cache_creation_tokens, output_tokens, &raw_));
        return *this;
    }
    completion &failed_role(role which) {
        return raw_.failed_role = detail::number(which), *this;
    }
    completion &at(time now) { return raw_.now = now.raw(), *this; }

    const pointsman_completion *raw() const noexcept { return &raw_; }

  private:
    pointsman_completion raw_ = POINTSMAN_COMPLETION_INIT;
};

/**
 * What the status of an HTTP response, and the pause that its Retry-After header asks for, say about the
 * worker; see pointsman_outcome_of_http_status. A number that is no HTTP status counts as a worker's error.
 */
inline completion outcome_of_http_status(std::uint32_t status,
                                         std::chrono::nanoseconds retry_after = {}) {
    pointsman_completion raw = POINTSMAN_COMPLETION_INIT;
    const std::uint64_t pause = detail::length_of(retry_after);
    if (pointsman_outcome_of_http_status(status, pause, &raw) != POINTSMAN_OK) {
        return outcome::worker_error;
    }
    return completion(static_cast<outcome>(raw.outcome))
        .retry_after(std::chrono::nanoseconds(static_cast<std::int64_t>(raw.retry_after)));
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

/** What a worker is. Owns its texts. */
class worker_spec {
  public:
    explicit worker_spec(std::string_view url) : url_(url) {}

    worker_spec &role(pointsman::role which) {
        return raw_.role = detail::number(which), *this;
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

    /** Calls with the C struct, which borrows from this object, and returns what comes back. */
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

/** What is to change about a worker: what is not said stays as it is. Owns its texts. */
class worker_change {
  public:
    worker_change &url(std::string_view url) { return url_ = url, *this; }
    worker_change &weight(double weight) { return raw_.weight = weight, *this; }
    /** An empty one: none. */
    worker_change &group(std::string_view group) { return group_ = group, *this; }
    /** POINTSMAN_UNKNOWN64: not known. */
    worker_change &kv_capacity_tokens(std::uint64_t tokens) {
        return raw_.kv_capacity_tokens = tokens, *this;
    }
    /** 0: no limit. */
    worker_change &max_in_flight(std::uint32_t requests) { return raw_.max_in_flight = requests, *this; }
    /** All of its labels from here on. */
    worker_change &labels(std::vector<std::pair<std::string, std::string>> labels) {
        return labels_ = std::move(labels), *this;
    }

    /** Calls with the C struct, which borrows from this object, and returns what comes back. */
    template <class Call>
    auto lend(Call &&call) const {
        std::vector<pointsman_label> labels;
        pointsman_worker_change raw = raw_;
        if (url_) {
            raw.url = url_->data();
            raw.url_length = url_->size();
        }
        if (group_) {
            raw.group = group_->data();
            raw.group_length = group_->size();
        }
        if (labels_) {
            // Room for one more, so that an empty list differs from no list.
            labels.reserve(labels_->size() + 1);
            for (const auto &[key, value] : *labels_) labels.push_back(detail::label_of(key, value));
            raw.labels = labels.data();
            raw.label_count = static_cast<std::uint32_t>(labels.size());
        }
        return call(raw);
    }

  private:
    pointsman_worker_change raw_ = POINTSMAN_WORKER_CHANGE_INIT;
    std::optional<std::string> url_, group_;
    std::optional<std::vector<std::pair<std::string, std::string>>> labels_;
};

/** A worker's report of its own load; pointsman_load with names. */
class load {
  public:
    load &running(std::uint32_t requests) { return raw_.running = requests, *this; }
    load &waiting(std::uint32_t requests) { return raw_.waiting = requests, *this; }
    load &kv_used_tokens(std::uint64_t tokens) { return raw_.kv_used_tokens = tokens, *this; }
    load &kv_total_tokens(std::uint64_t tokens) { return raw_.kv_total_tokens = tokens, *this; }
    load &at(time when) { return raw_.at = when.raw(), *this; }

    const pointsman_load *raw() const noexcept { return &raw_; }

  private:
    pointsman_load raw_ = POINTSMAN_LOAD_INIT;
};

/**
 * One request to be routed. Borrows the texts, tokens and fingerprint that it is given until it has been
 * routed; owns its lists of workers.
 */
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
    /** An empty list allows none. */
    request &allow(std::vector<worker_id> ids) { return allowed_ = std::move(ids), *this; }
    /** Slot s is bit s % 64 of word s / 64. An empty list allows none. */
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
    request &at(time now) { return raw_.now = now.raw(), *this; }

    /** The C struct, which borrows from this object. */
    pointsman_request raw() const noexcept {
        // The address of an empty list, so that it differs from no list.
        static const std::uint64_t none = 0;
        pointsman_request raw = raw_;
        raw.labels = labels_.data();
        raw.label_count = labels_.size();
        raw.excluded = reinterpret_cast<const std::uint64_t *>(excluded_.data());
        raw.excluded_count = excluded_.size();
        if (allowed_) {
            raw.allowed = allowed_->empty()
                              ? &none
                              : reinterpret_cast<const std::uint64_t *>(allowed_->data());
            raw.allowed_count = allowed_->size();
        }
        if (allowed_words_) {
            raw.allowed_words = allowed_words_->empty() ? &none : allowed_words_->data();
            raw.allowed_words_count = allowed_words_->size();
        }
        return raw;
    }

  private:
    request(pointsman_prompt_kind kind, const void *prompt, std::size_t length) {
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

namespace detail {

/**
 * What is not deleted while a callback of the library runs on this thread: it may be what the callback
 * belongs to. It goes at the end of this thread's next call that is made outside of callbacks, which is
 * the one that the callback belongs to, unless that one was made by the C interface.
 */
class departing {
  public:
    departing() = default;
    departing(const departing &) = delete;
    departing &operator=(const departing &) = delete;
    virtual ~departing() = default;

    /** Deletes it, now or later. */
    static void leave(const departing *it) noexcept {
        if (pointsman_in_callback() == 0) {
            delete it;
        } else {
            it->next_ = std::exchange(waiting_, it);
        }
        settle();
    }
    /** Deletes what waits, outside of callbacks. */
    static void settle() noexcept {
        while (waiting_ != nullptr && pointsman_in_callback() == 0) {
            const departing *it = waiting_;
            waiting_ = it->next_;
            delete it;
        }
    }

  private:
    mutable const departing *next_ = nullptr;
    static inline thread_local const departing *waiting_ = nullptr;
};

/** A router of the C interface, and the host's functions that it calls. */
class shared_router : public departing {
  public:
    static std::shared_ptr<const shared_router> make(pointsman_router *raw,
                                                     std::vector<std::shared_ptr<void>> kept = {}) {
        return {new shared_router(raw, std::move(kept)), departing::leave};
    }
    ~shared_router() override { pointsman_router_free(raw_); }

    pointsman_router *raw() const noexcept { return raw_; }

  private:
    shared_router(pointsman_router *raw, std::vector<std::shared_ptr<void>> kept)
        : raw_(raw), kept_(std::move(kept)) {}

    pointsman_router *raw_;
    std::vector<std::shared_ptr<void>> kept_;
};

using router_handle = std::shared_ptr<const shared_router>;

/** A router's pointer for one call: NULL, which the call refuses, where it was moved away. */
class lent {
  public:
    explicit lent(const router_handle &router) noexcept : raw_(router ? router->raw() : nullptr) {}
    lent(const lent &) = delete;
    lent &operator=(const lent &) = delete;
    ~lent() { departing::settle(); }

    operator pointsman_router *() const noexcept { return raw_; }

  private:
    pointsman_router *raw_;
};

}  // namespace detail

/** The longest match that any candidate for a prompt had: no worker where nothing was found. */
struct match {
    worker_id worker = worker_id::none;
    std::uint32_t tokens = 0;

    match(const pointsman_router *router, std::uint64_t ticket) noexcept {
        std::uint64_t raw = 0;
        if (pointsman_best_match(router, ticket, &raw, &tokens) == POINTSMAN_OK) {
            worker = worker_id{raw};
        }
    }
};

/** A ticket that closes itself as cancelled by the client. Keeps its router alive. */
class ticket {
  public:
    ticket(detail::router_handle router, std::uint64_t number) noexcept
        : router_(std::move(router)), number_(number) {}
    ticket(ticket &&other) noexcept
        : router_(std::move(other.router_)), number_(std::exchange(other.number_, 0)) {}
    ticket &operator=(ticket &&other) noexcept {
        if (this != &other) {
            cancel();
            router_ = std::move(other.router_);
            number_ = std::exchange(other.number_, 0);
        }
        return *this;
    }
    ~ticket() { cancel(); }

    std::uint64_t number() const noexcept { return number_; }
    /** Gives the duty to complete the request to the caller. */
    std::uint64_t release() noexcept { return std::exchange(number_, 0); }

    /**
     * Succeeds and does nothing where the ticket was completed, released or moved away before.
     */
    result<void> first_token(std::uint32_t cached_tokens, time now) {
        if (number_ == 0) return {};
        return result<void>::of(
            pointsman_first_token(detail::lent(router_), number_, cached_tokens, now.raw()));
    }
    match best_match() const noexcept { return match(detail::lent(router_), number_); }
    result<void> progress(time now) {
        if (number_ == 0) return {};
        return result<void>::of(pointsman_progress(detail::lent(router_), number_, now.raw()));
    }
    result<void> complete(const completion &end) {
        if (number_ == 0) return {};
        return result<void>::of(pointsman_complete(detail::lent(router_), release(), end.raw()));
    }

  private:
    void cancel() noexcept { (void)complete(outcome::client_cancelled); }

    detail::router_handle router_;
    std::uint64_t number_;
};

/** One worker of a selection, and why it was chosen. */
class chosen {
  public:
    explicit chosen(const pointsman_selection &raw) noexcept : raw_(raw) {}

    worker_id worker() const noexcept { return worker_id{raw_.worker}; }
    std::uint64_t user_data() const noexcept { return raw_.user_data; }
    pointsman::reason reason() const noexcept { return static_cast<pointsman::reason>(raw_.reason); }
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

/** What one worker and a pair have in common: the ticket. */
class open {
  public:
    std::uint64_t ticket() const noexcept { return ticket_.number(); }
    /** Gives the duty to complete the request to the caller. */
    std::uint64_t release() noexcept { return ticket_.release(); }
    result<void> first_token(std::uint32_t cached_tokens = POINTSMAN_UNKNOWN,
                             time now = {}) {
        return ticket_.first_token(cached_tokens, now);
    }
    /** The longest match that any candidate for the prompt had; known until it is completed. */
    match best_match() const noexcept { return ticket_.best_match(); }
    result<void> progress(time now = {}) { return ticket_.progress(now); }
    /** Once: afterwards the selection holds nothing. */
    result<void> complete(const completion &end = completion()) { return ticket_.complete(end); }

  protected:
    open(router_handle router, std::uint64_t number) noexcept : ticket_(std::move(router), number) {}

  private:
    pointsman::ticket ticket_;
};

}  // namespace detail

/** The worker chosen for a request. Dropping it gives the load back as cancelled. */
class selection : public detail::open, public chosen {
  public:
    selection(detail::router_handle router, const pointsman_selection &raw) noexcept
        : open(std::move(router), raw.ticket), chosen(raw) {}
};

/**
 * The worker chosen for a request, without a reference to the router: dropping it does nothing, and the
 * host has to pass its ticket to router::complete.
 */
class detached_selection : public chosen {
  public:
    using chosen::chosen;
    std::uint64_t ticket() const noexcept { return raw().ticket; }
};

/** The workers chosen for a prefill/decode pair, under one ticket. */
class pair_selection : public detail::open {
  public:
    pair_selection(detail::router_handle router, const pointsman_selection &prefill,
                   const pointsman_selection &decode) noexcept
        : open(std::move(router), prefill.ticket), prefill_(prefill), decode_(decode) {}

    const chosen &prefill() const noexcept { return prefill_; }
    const chosen &decode() const noexcept { return decode_; }

  private:
    chosen prefill_, decode_;
};

/** A router. Every member function may be called by any number of threads at once. */
class router {
  public:
    /** Takes over a router of the C interface. */
    explicit router(pointsman_router *raw)
        : shared_(detail::shared_router::make(raw)) {}

    static result<router> make(std::string_view config = {}) {
        pointsman_router *made = nullptr;
        const pointsman_status code = pointsman_router_new(config.data(), config.size(), &made);
        if (code != POINTSMAN_OK) return error::last(code);
        return router(made);
    }

    router(router &&) noexcept = default;
    router &operator=(router &&) noexcept = default;

    /** NULL where the router was moved away: every call answers POINTSMAN_INVALID_ARGUMENT then. */
    pointsman_router *raw() const noexcept { return shared_ ? shared_->raw() : nullptr; }

    result<worker_id> add_worker(const worker_spec &spec, time now = {}) {
        std::uint64_t id = 0;
        const pointsman_status code = spec.lend([&](const pointsman_worker_spec &lent) {
            return pointsman_worker_add(lend(), &lent, now.raw(), &id);
        });
        if (code != POINTSMAN_OK) return error::last(code);
        return worker_id{id};
    }
    result<void> update_worker(worker_id id, const worker_change &change) {
        return of(change.lend([&](const pointsman_worker_change &lent) {
            return pointsman_worker_update(lend(), number(id), &lent);
        }));
    }
    result<void> remove_worker(worker_id id, time now = {}) {
        return of(pointsman_worker_remove(lend(), number(id), now.raw()));
    }
    result<void> drain_worker(worker_id id) {
        return of(pointsman_worker_drain(lend(), number(id)));
    }
    result<void> resume_worker(worker_id id) {
        return of(pointsman_worker_resume(lend(), number(id)));
    }
    result<void> set_weight(worker_id id, double weight) {
        return of(pointsman_worker_set_weight(lend(), number(id), weight));
    }
    result<void> set_max_in_flight(worker_id id, std::uint32_t requests) {
        return of(pointsman_worker_set_max_in_flight(lend(), number(id), requests));
    }
    result<void> set_health(worker_id id, health state) {
        return of(pointsman_worker_set_health(lend(), number(id), detail::number(state)));
    }
    result<void> report_load(worker_id id, const load &load) {
        return of(pointsman_worker_report_load(lend(), number(id), load.raw()));
    }
    result<worker_id> find_worker(std::string_view url) const {
        std::uint64_t id = 0;
        const pointsman_status code =
            pointsman_worker_find(lend(), url.data(), url.size(), &id);
        if (code != POINTSMAN_OK) return error::last(code);
        return worker_id{id};
    }
    result<std::string> worker_url(worker_id id) const {
        const detail::lent held(shared_);
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_worker_url(held, number(id), buffer, capacity, length);
        });
    }
    result<std::uint32_t> worker_slot(worker_id id) const {
        std::uint32_t slot = 0;
        const pointsman_status code = pointsman_worker_slot(lend(), number(id), &slot);
        if (code != POINTSMAN_OK) return error::last(code);
        return slot;
    }
    result<pointsman_worker_info> describe_worker(worker_id id,
                                                  time now = {}) const {
        pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
        const pointsman_status code =
            pointsman_worker_describe(lend(), number(id), now.raw(), &info);
        if (code != POINTSMAN_OK) return error::last(code);
        return info;
    }
    /** All workers, as of one moment. */
    result<std::vector<pointsman_worker_info>> describe_workers(time now = {}) const {
        const detail::lent held(shared_);
        std::vector<pointsman_worker_info> infos(16, POINTSMAN_WORKER_INFO_INIT);
        for (;;) {
            std::size_t count = 0;
            const pointsman_status code = pointsman_workers_describe(held, now.raw(), infos.data(),
                                                                     infos.size(), &count);
            if (code != POINTSMAN_OK && code != POINTSMAN_BUFFER_TOO_SMALL) return error::last(code);
            infos.resize(count, POINTSMAN_WORKER_INFO_INIT);
            if (code == POINTSMAN_OK) return infos;
        }
    }
    result<std::vector<worker_id>> workers() const {
        const detail::lent held(shared_);
        std::vector<worker_id> ids(16);
        for (;;) {
            std::size_t count = 0;
            const pointsman_status code = pointsman_workers(
                held, reinterpret_cast<std::uint64_t *>(ids.data()), ids.size(), &count);
            if (code != POINTSMAN_OK && code != POINTSMAN_BUFFER_TOO_SMALL) return error::last(code);
            ids.resize(count);
            if (code == POINTSMAN_OK) return ids;
        }
    }

    result<selection> select(const request &request) {
        // A callback may destroy this very object.
        detail::router_handle kept = shared_;
        auto chosen = choose(kept, request);
        if (!chosen) return chosen.error();
        return selection(std::move(kept), *chosen);
    }
    /** As select, for hosts that keep the ticket themselves. */
    result<detached_selection> select_detached(const request &request) {
        auto chosen = choose(shared_, request);
        if (!chosen) return chosen.error();
        return detached_selection(*chosen);
    }
    result<pair_selection> select_pair(const request &request) {
        const detail::router_handle kept = shared_;
        const pointsman_request asked = request.raw();
        pointsman_selection prefill = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
        const pointsman_status code = pointsman_select_pair(detail::lent(kept), &asked, &prefill, &decode);
        if (code != POINTSMAN_OK) return error::last(code);
        return pair_selection(kept, prefill, decode);
    }
    /** For tickets whose number was released. */
    result<void> first_token(std::uint64_t ticket, std::uint32_t cached_tokens = POINTSMAN_UNKNOWN,
                             time now = {}) {
        return of(pointsman_first_token(lend(), ticket, cached_tokens, now.raw()));
    }
    match best_match(std::uint64_t ticket) const noexcept { return match(lend(), ticket); }
    result<void> progress(std::uint64_t ticket, time now = {}) {
        return of(pointsman_progress(lend(), ticket, now.raw()));
    }
    result<void> complete(std::uint64_t ticket, const completion &end = completion()) {
        return of(pointsman_complete(lend(), ticket, end.raw()));
    }
    /** The prompt's fingerprint, as many hashes as there is room for. It borrows them. */
    result<pointsman_fingerprint> fingerprint(const request &request,
                                              std::vector<std::uint64_t> &hashes) const {
        const pointsman_request asked = request.raw();
        pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
        const pointsman_status code = pointsman_fingerprint_request(
            lend(), &asked, hashes.data(), hashes.size(), &fingerprint);
        if (code != POINTSMAN_OK) return error::last(code);
        return fingerprint;
    }
    /** The record of a decision as one line of JSON. */
    result<std::string> print(const chosen &chosen) const {
        const detail::lent held(shared_);
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_selection_print(held, &chosen.raw(), buffer, capacity, length);
        });
    }

    /** The name of the policy that regular requests are chosen by. */
    result<std::string> policy() const {
        const detail::lent held(shared_);
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_policy(held, buffer, capacity, length);
        });
    }
    result<void> set_policy(std::string_view policy) {
        return of(pointsman_router_set_policy(lend(), policy.data(), policy.size()));
    }
    /** An empty one leaves that role to policy. */
    result<void> set_policies(std::string_view policy, std::string_view prefill,
                              std::string_view decode) {
        return of(pointsman_router_set_policies(lend(), policy.data(), policy.size(),
                                                prefill.data(), prefill.size(), decode.data(),
                                                decode.size()));
    }
    result<void> set_shadow(std::string_view policy) {
        return of(pointsman_router_set_shadow(lend(), policy.data(), policy.size()));
    }
    result<void> set_split(std::string_view policy, double share) {
        return of(pointsman_router_set_split(lend(), policy.data(), policy.size(), share));
    }
    result<void> tick(time now = {}) {
        return of(pointsman_router_tick(lend(), now.raw()));
    }
    result<void> after_fork() { return of(pointsman_router_after_fork(lend())); }
    /** The router's own clock: how long ago the router was made. */
    time now() const noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(pointsman_router_now(lend())));
    }

    result<pointsman_metrics> metrics(time now = {}) const {
        pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
        const pointsman_status code = pointsman_router_metrics(lend(), now.raw(), &metrics);
        if (code != POINTSMAN_OK) return error::last(code);
        return metrics;
    }
    /** As prometheus without the last line, for hosts that write families of their own after it. */
    result<std::string> prometheus_families(time now = {}) const {
        const detail::lent held(shared_);
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_prometheus_families(held, now.raw(), buffer, capacity, length);
        });
    }
    result<std::string> prometheus(time now = {}) const {
        const detail::lent held(shared_);
        return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
            return pointsman_router_prometheus(held, now.raw(), buffer, capacity, length);
        });
    }

  private:
    friend class builder;

    explicit router(detail::router_handle shared) noexcept : shared_(std::move(shared)) {}

    static result<pointsman_selection> choose(const detail::router_handle &router,
                                              const request &request) {
        const pointsman_request asked = request.raw();
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        const pointsman_status code = pointsman_select(detail::lent(router), &asked, &chosen);
        if (code != POINTSMAN_OK) return error::last(code);
        return chosen;
    }

    detail::lent lend() const noexcept { return detail::lent(shared_); }
    static std::uint64_t number(worker_id id) noexcept { return detail::number(id); }
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    /** Calls a function that fills a buffer until the buffer is large enough. */
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

    detail::router_handle shared_;
};

/**
 * What a policy of the host's own decides: the index of a candidate and, as far as the policy knows them,
 * the rest of a pointsman_decision.
 */
class choice {
  public:
    choice(std::uint32_t index) noexcept : index_(index) {}

    /** The best of those not chosen, and what the policy minimised there. */
    choice &runner_up(std::uint32_t index, double score) noexcept {
        runner_up_ = index;
        return runner_up_score_ = score, *this;
    }
    /** What the policy minimised, in its own unit. */
    choice &score(double score) noexcept { return score_ = score, *this; }
    /** Prompt tokens that the worker will have to compute; handed back with the events. */
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

/**
 * What a policy of the host's own does. Derive from it and register it by builder::add_policy. Its
 * functions are called by many threads at once and are noexcept: an exception ends the process.
 */
class policy {
  public:
    virtual ~policy() = default;
    /** The choice, which may be just an index, or nothing to refuse all candidates. */
    virtual std::optional<choice> select(const pointsman_candidates &candidates,
                                         const pointsman_request_view &request) noexcept = 0;
    virtual void on_event(const pointsman_event &) noexcept {}
};

/** One decision, for the decision log; pointsman_decision_record with names. */
struct decision_record {
    pointsman::role role;
    time now;
    std::uint64_t ticket;
    worker_id worker;
    worker_id runner_up;
    double score;
    double runner_up_score;
    pointsman::reason reason;
    std::uint32_t matched_tokens;
    std::uint32_t total_tokens;
    /** The candidate with the longest match, and what it is believed to hold. */
    worker_id best_match;
    std::uint32_t best_match_tokens;

    explicit decision_record(const pointsman_decision_record &raw) noexcept
        : role(static_cast<pointsman::role>(raw.role)),
          now(detail::time_of(raw.now)),
          ticket(raw.ticket),
          worker{raw.worker},
          runner_up{raw.runner_up},
          score(raw.score),
          runner_up_score(raw.runner_up_score),
          reason(static_cast<pointsman::reason>(raw.reason)),
          matched_tokens(raw.matched_tokens),
          total_tokens(raw.total_tokens),
          best_match{raw.best_match},
          best_match_tokens(raw.best_match_tokens) {}
};

/** A change of a worker's health, for the health log; pointsman_health_change with names. */
struct health_change {
    health_state state;
    time now;
    worker_id worker;
    std::uint64_t user_data;
    /** When probation begins, where the worker was ejected. */
    time until;

    explicit health_change(const pointsman_health_change &raw) noexcept
        : state(static_cast<health_state>(raw.state)),
          now(detail::time_of(raw.now)),
          worker{raw.worker},
          user_data(raw.user_data),
          until(detail::time_of(raw.until)) {}
};

/** The settings of routers to be built. */
class builder {
  public:
    static result<builder> make() {
        pointsman_builder *raw = nullptr;
        const pointsman_status code = pointsman_builder_new(&raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return builder(raw);
    }

    pointsman_builder *raw() const noexcept { return owned_ ? owned_->raw : nullptr; }

    result<void> config(std::string_view document) {
        return of(pointsman_builder_set_config(raw(), document.data(), document.size()));
    }
    result<void> policy(std::string_view policy) {
        return of(pointsman_builder_set_policy(raw(), policy.data(), policy.size()));
    }
    result<void> tree_budget(std::uint64_t bytes) {
        return of(pointsman_builder_set_tree_budget(raw(), bytes));
    }
    result<void> limits(std::uint32_t max_workers, std::uint32_t max_tickets) {
        return of(pointsman_builder_set_limits(raw(), max_workers, max_tickets));
    }
    result<void> hash_key(const std::uint8_t (&key)[32]) {
        return of(pointsman_builder_set_hash_key(raw(), key, sizeof key));
    }
    result<void> seed(std::uint64_t seed) {
        return of(pointsman_builder_set_seed(raw(), seed));
    }
    /**
     * The host's functions live as long as this builder and the routers that were built with them. They
     * are called by any thread, several at a time; an empty one stops the log.
     */
    result<void> log(log_level level, std::function<void(log_level, std::string_view)> write) {
        const auto call = [](void *kept, pointsman_log_level at, const char *text,
                             std::size_t length) noexcept {
            (*static_cast<decltype(write) *>(kept))(log_level{at}, {text, length});
        };
        auto kept = keep(std::move(write));
        return keeping(log_, kept, pointsman_builder_set_log(raw(), detail::number(level),
                                                             kept ? +call : nullptr, kept.get()));
    }
    result<void> decision_log(std::uint32_t every,
                              std::function<void(const decision_record &)> write) {
        const auto call = [](void *kept, const pointsman_decision_record *record) noexcept {
            (*static_cast<decltype(write) *>(kept))(pointsman::decision_record(*record));
        };
        auto kept = keep(std::move(write));
        return keeping(decision_log_, kept,
                       pointsman_builder_set_decision_log(raw(), every, kept ? +call : nullptr,
                                                          kept.get()));
    }
    result<void> health_log(std::function<void(const health_change &)> write) {
        const auto call = [](void *kept, const pointsman_health_change *change) noexcept {
            (*static_cast<decltype(write) *>(kept))(pointsman::health_change(*change));
        };
        auto kept = keep(std::move(write));
        return keeping(health_log_, kept,
                       pointsman_builder_set_health_log(raw(), kept ? +call : nullptr,
                                                        kept.get()));
    }
    /** Called when a place may have come free: see pointsman_builder_set_room_callback. */
    result<void> on_room(std::function<void()> tell) {
        const auto call = [](void *kept) noexcept { (*static_cast<decltype(tell) *>(kept))(); };
        auto kept = keep(std::move(tell));
        return keeping(room_, kept,
                       pointsman_builder_set_room_callback(raw(), kept ? +call : nullptr,
                                                           kept.get()));
    }
    /**
     * make is called, with the options as JSON, each time that configuration names the policy:
     * {"policy": {"custom": {"name": name, "options": ...}}}. What it returns lives until nothing uses
     * it any more. It refuses the options by NULL or by throwing. flags are POINTSMAN_POLICY_WANTS_ bits.
     */
    result<void> add_policy(
        std::string_view name,
        std::function<std::unique_ptr<pointsman::policy>(std::string_view options)> make,
        pointsman_policy_flags flags = 0) {
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
            pointsman_builder_add_policy(this->raw(), name.data(), name.size(), &raw);
        if (code == POINTSMAN_OK) (void)kept.release();
        return of(code);
    }
    result<router> build() const {
        // A callback may destroy this very object.
        std::vector<std::shared_ptr<void>> kept{log_, decision_log_, health_log_, room_};
        pointsman_router *built = nullptr;
        const pointsman_status code = pointsman_builder_build(raw(), &built);
        detail::departing::settle();
        if (code != POINTSMAN_OK) return error::last(code);
        return router(detail::shared_router::make(built, std::move(kept)));
    }

  private:
    struct owned : detail::departing {
        explicit owned(pointsman_builder *builder) noexcept : raw(builder) {}
        ~owned() override { pointsman_builder_free(raw); }
        pointsman_builder *raw;
    };
    struct leave {
        void operator()(const owned *it) const noexcept { detail::departing::leave(it); }
    };
    explicit builder(pointsman_builder *raw) : owned_(new owned(raw)) {}
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    /** Keeps a function at one address; nothing for an empty one. */
    template <class Function>
    static std::shared_ptr<void> keep(Function function) {
        return function ? std::make_shared<Function>(std::move(function)) : nullptr;
    }
    /** Keeps a function that the library has accepted; a refused one leaves the previous one in place. */
    static result<void> keeping(std::shared_ptr<void> &place, std::shared_ptr<void> kept,
                                pointsman_status code) {
        if (code == POINTSMAN_OK) place = std::move(kept);
        return of(code);
    }

    std::unique_ptr<owned, leave> owned_;
    std::shared_ptr<void> log_, decision_log_, health_log_, room_;
};

/** Fingerprints a prompt that arrives in pieces. */
class fingerprinter {
  public:
    static result<fingerprinter> make(const router &router, std::size_t capacity = 4096) {
        pointsman_fingerprinter *raw = nullptr;
        const pointsman_status code = pointsman_fingerprinter_new(router.raw(), capacity, &raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return fingerprinter(raw);
    }

    result<void> begin(prompt_kind kind, std::optional<std::string_view> cache_namespace = {}) {
        const char *text = nullptr;
        if (cache_namespace) text = cache_namespace->data() ? cache_namespace->data() : "";
        return of(pointsman_fingerprinter_begin(raw_.get(), detail::number(kind), text,
                                                cache_namespace ? cache_namespace->size() : 0));
    }
    result<void> push(std::string_view piece) {
        return of(pointsman_fingerprinter_push(raw_.get(), piece.data(), piece.size()));
    }
    /** The same for a prompt that was begun as tokens. */
    result<void> push(const std::uint32_t *tokens, std::size_t count) {
        return of(pointsman_fingerprinter_push(raw_.get(), tokens, count));
    }
    /** Borrows the fingerprinter's memory until the next begin. */
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
            detail::departing::settle();
        }
    };
    explicit fingerprinter(pointsman_fingerprinter *raw) noexcept : raw_(raw) {}
    static result<void> of(pointsman_status code) { return result<void>::of(code); }

    std::unique_ptr<pointsman_fingerprinter, free> raw_;
};

/** Which of an engine's sockets a message came from. */
enum class source : pointsman_source {
    live = POINTSMAN_SOURCE_LIVE,
    replay = POINTSMAN_SOURCE_REPLAY,
};

/** What a load is read from. */
enum class load_source : pointsman_load_source {
    metrics = POINTSMAN_LOAD_FROM_METRICS,
    orca = POINTSMAN_LOAD_FROM_ORCA,
    listing = POINTSMAN_LOAD_FROM_LISTING,
};

/**
 * Hears one worker's engine: decodes what it says about its cache and its load. The host fetches the bytes.
 * Used by one thread at a time. A function that hears takes a `const pointsman_kv_event &`, which lives as
 * long as the call, and must not throw. A call with a router tells it what was heard, as of that worker.
 */
class engine {
  public:
    static result<engine> make() {
        pointsman_engine *raw = nullptr;
        const pointsman_status code = pointsman_engine_new(&raw);
        if (code != POINTSMAN_OK) return error::last(code);
        return engine(raw);
    }

    /** Takes the last two frames of a message of KV events. */
    template <class Hear>
    result<pointsman_fed> feed(const router &router, worker_id worker, source from, std::string_view sequence,
                               std::string_view payload, Hear &&hear) {
        return feed(router.raw(), worker, from, sequence, payload, hear);
    }
    result<pointsman_fed> feed(const router &router, worker_id worker, source from, std::string_view sequence,
                               std::string_view payload) {
        ignore hear;
        return feed(router.raw(), worker, from, sequence, payload, hear);
    }
    /** The same without a router. */
    template <class Hear>
    result<pointsman_fed> feed(source from, std::string_view sequence, std::string_view payload, Hear &&hear) {
        return feed(nullptr, worker_id::none, from, sequence, payload, hear);
    }

    /** The messages that are missing before this one: the first, and the one after the last. */
    template <class Hear>
    result<std::pair<std::uint64_t, std::uint64_t>> gap(std::string_view sequence, std::string_view payload,
                                                        Hear &&hear) {
        std::pair<std::uint64_t, std::uint64_t> gap;
        const pointsman_status code =
            pointsman_engine_gap(raw_.get(), sequence.data(), sequence.size(), payload.data(), payload.size(),
                                 &called<Hear>, address(hear), &gap.first, &gap.second);
        if (code != POINTSMAN_OK) return error::last(code);
        return gap;
    }

    /** Tells that the worker's engine is another process from here on. */
    result<void> restart(const router &router, worker_id worker) {
        return result<void>::of(pointsman_engine_restart(raw_.get(), router.raw(),
                                                         detail::number(worker), nullptr, nullptr));
    }

    /**
     * Reads the worker's load, of all ranks together or of one; the router gets it as a report, if it is
     * complete. `running` is what the host counts, for texts that lack it.
     */
    result<pointsman_engine_load> read_load(const router &router, worker_id worker, load_source from,
                                            std::string_view text,
                                            std::optional<std::uint32_t> running = {},
                                            std::optional<std::uint32_t> rank = {}) {
        pointsman_engine_load load = POINTSMAN_ENGINE_LOAD_INIT;
        const pointsman_status code = pointsman_engine_read_load(
            raw_.get(), router.raw(), detail::number(worker), detail::number(from), text.data(), text.size(),
            rank.value_or(POINTSMAN_NONE), running.value_or(POINTSMAN_UNKNOWN), &load);
        if (code != POINTSMAN_OK) return error::last(code);
        return load;
    }

  private:
    struct free {
        void operator()(pointsman_engine *raw) const noexcept { pointsman_engine_free(raw); }
    };
    explicit engine(pointsman_engine *raw) noexcept : raw_(raw) {}

    struct ignore {
        void operator()(const pointsman_kv_event &) const noexcept {}
    };

    template <class Hear>
    static void *address(Hear &hear) noexcept {
        return const_cast<void *>(static_cast<const void *>(std::addressof(hear)));
    }
    /** Ends the program where it throws: no exception may cross the library. */
    template <class Hear>
    static void called(void *hear, const pointsman_kv_event *event) noexcept {
        (*static_cast<std::remove_reference_t<Hear> *>(hear))(*event);
    }

    template <class Hear>
    result<pointsman_fed> feed(pointsman_router *router, worker_id worker, source from,
                               std::string_view sequence, std::string_view payload, Hear &hear) {
        pointsman_fed fed = POINTSMAN_FED_INIT;
        const pointsman_status code = pointsman_engine_feed(
            raw_.get(), router, detail::number(worker), detail::number(from), sequence.data(), sequence.size(),
            payload.data(), payload.size(), &called<Hear>, address(hear), &fed);
        if (code != POINTSMAN_OK) return error::last(code);
        return fed;
    }

    std::unique_ptr<pointsman_engine, free> raw_;
};

}  // namespace pointsman

#endif
