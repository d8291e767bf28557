// The C++ layer: ownership, results, and every function that it wraps.
#include <pointsman.hpp>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "check.hpp"

using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<pointsman::router>);
static_assert(!std::is_copy_constructible_v<pointsman::selection>);
static_assert(std::is_nothrow_move_constructible_v<pointsman::router>);
static_assert(std::is_nothrow_move_constructible_v<pointsman::selection>);
static_assert(std::is_nothrow_move_assignable_v<pointsman::selection>);

static std::uint64_t in_flight(const pointsman::router &router) {
    auto metrics = router.metrics();
    CHECK(metrics);
    return metrics->in_flight;
}

static void ownership() {
    auto made = pointsman::router::make(R"({"policy": "power_of_two"})");
    CHECK(made);
    pointsman::router router = std::move(*made);
    auto one = router.add_worker(pointsman::worker_spec("http://one").weight(1).user_data(7));
    auto two = router.add_worker(pointsman::worker_spec("http://two").label("zone", "b"));
    CHECK(one && two && *one != *two);
    {
        auto dropped = router.select(pointsman::request::text("Hello"));
        CHECK(dropped && in_flight(router) == 1);
        CHECK(dropped->runner_up() != pointsman::worker_id::none);
        CHECK(dropped->best_match().worker == pointsman::worker_id::none);
    }
    CHECK(in_flight(router) == 0);
    CHECK(router.describe_worker(*one)->client_cancelled + router.describe_worker(*two)->client_cancelled == 1);
    std::vector<pointsman::selection> open;
    for (int i = 0; i < 10; i++) open.push_back(*router.select(pointsman::request()));
    CHECK(in_flight(router) == 10);
    open[0] = std::move(open[1]);
    CHECK(in_flight(router) == 9);
    CHECK(open[0].first_token(5) && open[0].progress());
    CHECK(open[0].complete(pointsman::completion().prompt_tokens(3).cached_tokens(0)));
    CHECK(in_flight(router) == 8);
    const std::uint64_t number = open[2].release();
    open.clear();
    CHECK(in_flight(router) == 1);
    CHECK(router.complete(number, pointsman::outcome::timeout));
    auto late = router.complete(number);
    CHECK(!late && late.error().code == POINTSMAN_ALREADY_CLOSED);
    CHECK(late.error().message.find("closed") != std::string::npos);
}

static void everything_else() {
    auto refused = pointsman::router::make("{\"polcy\": 1}");
    CHECK(!refused && refused.error().code == POINTSMAN_INVALID_CONFIG);
    CHECK(refused.error().message.find("polcy") != std::string::npos);
    auto router = pointsman::router::make();
    CHECK(router);
    auto id = router->add_worker(pointsman::worker_spec("http://a").label("zone", "a"));
    auto other = router->add_worker(pointsman::worker_spec("http://b").label("zone", "b"));
    CHECK(id && other);
    CHECK(*router->find_worker("http://b") == *other);
    CHECK(*router->worker_url(*id) == "http://a");
    CHECK(router->workers()->size() == 2);
    CHECK(!router->worker_url(pointsman::worker_id{1}));
    CHECK(router->set_weight(*id, 3) && router->set_max_in_flight(*id, 100));
    CHECK(router->set_health(*id, pointsman::health::healthy));
    CHECK(router->drain_worker(*id) && router->resume_worker(*id));
    CHECK(router->report_load(*id, pointsman::load().running(3).waiting(1).kv_used_tokens(5)));
    {
        auto chosen = router->select(pointsman::request::json(R"({"prompt": "x"})").label("zone", "b"));
        CHECK(chosen && chosen->worker() == *other);
        CHECK(chosen->reason() == pointsman::reason::only_candidate ||
              chosen->reason() == pointsman::reason::least_work);
        const std::string_view why = name(chosen->reason());
        CHECK(why == "only_candidate" || why == "least_work");
        CHECK(router->print(*chosen)->find("http://b") != std::string::npos);
        const std::vector<pointsman::worker_id> ids = {*id}, nobody;
        CHECK(router->select(pointsman::request().exclude(ids))->worker() == *other);
        CHECK(router->select(pointsman::request().allow(ids))->worker() == *id);
        CHECK(router->select(pointsman::request().allow(nobody)).error().code == POINTSMAN_NO_WORKER);
        // Lists that are gone when the request is routed.
        pointsman::request kept;
        kept.exclude({*id, *id, *id}).allow({*id, *other}).allow_slots({~std::uint64_t{0}});
        const pointsman::request copy = kept;
        CHECK(router->select(copy)->worker() == *other);
        CHECK(router->select(kept.allow_slots({})).error().code == POINTSMAN_NO_WORKER);
        CHECK(chosen->complete());
    }
    auto change = pointsman::worker_change().url("http://c").labels({{"zone", "c"}}).max_in_flight(7);
    CHECK(router->update_worker(*other, change) && *router->worker_url(*other) == "http://c");
    CHECK(router->select(pointsman::request().label("zone", "c"))->worker() == *other);
    CHECK(router->update_worker(*other, pointsman::worker_change().labels({}).group("g").weight(2)));
    CHECK(!router->select(pointsman::request().label("zone", "c")));
    change = pointsman::worker_change().url("http://a").kv_capacity_tokens(1);
    CHECK(router->update_worker(*other, change).error().code == POINTSMAN_ALREADY_EXISTS);
    const auto all_workers = router->describe_workers();
    CHECK(all_workers && all_workers->size() == 2 && (*all_workers)[1].max_in_flight == 7);
    CHECK((*all_workers)[1].weight == 2 && (*all_workers)[0].worker == static_cast<std::uint64_t>(*id));
    CHECK(router->set_policy("random") && router->set_shadow("round_robin"));
    CHECK(router->set_split("round_robin", 0.5) && router->set_split({}, 0));
    CHECK(!router->set_policy("unknown") && *router->policy() == "random");
    const std::string all = *router->prometheus();
    CHECK(*router->prometheus_families() + "# EOF\n" == *router->prometheus() && !all.empty());
    CHECK(router->tick() && router->after_fork() && router->now().since_beginning() > 0ns);
    CHECK(router->prometheus()->find("pointsman_worker_weight") != std::string::npos);

    const std::string far = "http://a.worker.with.a.name.longer.than.any.string.keeps.inline";
    auto moved = pointsman::worker_spec(far + "/").label("zone", far + "?").group(far + "#");
    pointsman::worker_spec spec = std::move(moved);
    CHECK(router->add_worker(spec) && router->find_worker(far + "/"));
    CHECK(router->remove_worker(*router->find_worker(far + "/")));

    CHECK(router->add_worker(pointsman::worker_spec("p").role(pointsman::role::prefill).group("g")));
    CHECK(router->add_worker(pointsman::worker_spec("d").role(pointsman::role::decode).group("g")));
    auto pair = router->select_pair(pointsman::request::text("Hello"));
    CHECK(pair && pair->prefill().worker() != pair->decode().worker());
    CHECK(pair->first_token());
    CHECK(pair->complete(pointsman::completion(pointsman::outcome::overloaded).retry_after(5s).failed_role(
        pointsman::role::decode)));
    CHECK(router->remove_worker(*id));
}

static void engines() {
    auto router = pointsman::router::make();
    auto engine = pointsman::engine::make();
    CHECK(router && engine);
    auto worker = router->add_worker(pointsman::worker_spec("a"));
    const std::string payload = std::string("\x92\x01\x91\x91\xb0") + "AllBlocksCleared";
    const std::string first(8, '\0'), third = std::string(7, '\0') + '\2';
    int cleared = 0, gaps = 0;
    auto hear = [&](const pointsman_kv_event &event) {
        cleared += event.kind == POINTSMAN_KV_CLEARED, gaps += event.kind == POINTSMAN_KV_GAP;
    };
    auto fed = engine->feed(*router, *worker, pointsman::source::live, first, payload, hear);
    CHECK(fed && fed->events == 1 && cleared == 1 && fed->held_tokens == 0);
    CHECK(engine->feed(*router, *worker, pointsman::source::live, first, payload)->events == 1);
    auto gap = engine->gap(third, payload, hear);
    CHECK(gap && gap->first == 1 && gap->second == 2 && gaps == 0);
    CHECK(engine->feed(pointsman::source::live, third, payload, hear) && gaps == 1 && cleared == 2);
    CHECK(engine->restart(*router, *worker));
    CHECK(engine->gap("", payload, hear).error().code == POINTSMAN_BAD_MESSAGE);

    const std::string orca = "TEXT named_metrics.num_requests_waiting=2";
    auto load = engine->read_load(*router, *worker, pointsman::load_source::orca, orca);
    CHECK(load && load->waiting == 2 && load->reported == 0);
    CHECK(engine->read_load(*router, *worker, pointsman::load_source::orca, orca, 3)->reported == 1);
    CHECK(engine->read_load(*router, *worker, pointsman::load_source::orca, orca, 3, 1)->waiting == POINTSMAN_UNKNOWN);
}

static void fingerprints() {
    auto router = pointsman::router::make();
    auto printer = pointsman::fingerprinter::make(*router);
    CHECK(router && printer && router->add_worker(pointsman::worker_spec("a")));
    const std::string text(1000, 'x');
    const std::string body = R"({"stream": true, "prompt": ")" + text + R"("})";
    CHECK(printer->begin(pointsman::prompt_kind::json, "space"));
    for (char c : body) CHECK(printer->push(std::string_view(&c, 1)));
    auto fingerprint = printer->finish();
    CHECK(fingerprint && fingerprint->hash_count > 0 && printer->body()->stream == 1);
    auto first = router->select(pointsman::request::fingerprint(*fingerprint));
    CHECK(first && first->complete());
    auto again = router->select(pointsman::request::json(body).cache_namespace("space"));
    CHECK(again && again->matched_tokens() > 100);
}

static void settings() {
    auto builder = pointsman::builder::make();
    int decisions = 0, ejections = 0, lines = 0;
    const std::uint8_t key[32] = {1};
    CHECK(builder && builder->tree_budget(1 << 20) && builder->limits(2, 64) && builder->seed(7));
    CHECK(builder->hash_key(key) && builder->policy("round_robin"));
    CHECK(builder->log(pointsman::log_level::warning,
                       [&lines](pointsman::log_level level, std::string_view text) {
                           CHECK(level == pointsman::log_level::warning && text.size() > 10);
                           lines++;
                       }));
    CHECK(!builder->log(pointsman::log_level{9}, [](pointsman::log_level, std::string_view) { std::abort(); }));
    CHECK(builder->decision_log(1, [&decisions](const pointsman::decision_record &it) {
        CHECK(it.reason == pointsman::reason::round_robin && it.ticket != 0 && it.role == pointsman::role::regular);
        decisions++;
    }));
    CHECK(!builder->decision_log(0, [](const pointsman::decision_record &) { std::abort(); }));
    CHECK(builder->health_log([&ejections](const pointsman::health_change &it) {
        CHECK(it.state == pointsman::health_state::ejected);
        CHECK(it.until.since_beginning() > it.now.since_beginning());
        ejections++;
    }));
    int rooms = 0;
    CHECK(builder->on_room([&rooms] { rooms++; }));
    auto router = builder->build(), twin = builder->build();
    CHECK(router && twin);
    {
        pointsman::worker_spec spec("only");
        auto only = twin->add_worker(spec);
        CHECK(only && twin->set_max_in_flight(*only, 1));
        auto held = twin->select(pointsman::request());
        CHECK(held && !twin->select(pointsman::request()) && rooms == 0);
        CHECK(held->complete(pointsman::outcome::success) && rooms == 1);
        CHECK(twin->remove_worker(*only));
        decisions = lines = 0;
    }
    auto a = router->add_worker(pointsman::worker_spec("a"));
    CHECK(a && router->add_worker(pointsman::worker_spec("b")));
    CHECK(router->add_worker(pointsman::worker_spec("c")).error().code == POINTSMAN_LIMIT);
    CHECK(router->metrics()->tree_budget_bytes == 1 << 20);

    const std::vector<pointsman::worker_id> only = {*a};
    for (int i = 0; i < 3; i++) {
        auto chosen = router->select(pointsman::request().allow(only));
        CHECK(chosen && chosen->complete(pointsman::outcome::worker_error));
    }
    CHECK(decisions == 3 && ejections == 1 && lines == 1);
    const std::vector<std::uint64_t> slots = {std::uint64_t{1} << *router->worker_slot(*a)}, none;
    CHECK(!router->select(pointsman::request().allow_slots(slots)));
    CHECK(router->set_health(*a, pointsman::health::healthy));
    CHECK(!router->select(pointsman::request().allow_slots(none)));
    auto chosen = router->select(pointsman::request().allow_slots(slots));
    CHECK(chosen && chosen->worker() == *a);
    const std::uint64_t ticket = chosen->release();
    CHECK(router->first_token(ticket, 3) && router->progress(ticket) && router->complete(ticket));

    CHECK(router->set_policies("random", {}, "power_of_two") && !router->set_policies("random", "x", {}));
    const std::string prompt(1000, 'p');
    std::vector<std::uint64_t> hashes(16), others(16);
    auto one = router->fingerprint(pointsman::request::text(prompt), hashes);
    auto other = twin->fingerprint(pointsman::request::text(prompt), others);
    CHECK(one && other && one->hash_count > 0 && hashes == others);
}

// Chooses by turns, and counts what it is told.
class turns : public pointsman::policy {
  public:
    explicit turns(int *alive) : alive_(alive) { ++*alive_; }
    ~turns() override { --*alive_; }
    std::optional<pointsman::choice> select(const pointsman_candidates &candidates,
                                            const pointsman_request_view &) noexcept override {
        const auto index = static_cast<std::uint32_t>(next_++ % candidates.count);
        if (candidates.count < 2) return index;
        return pointsman::choice(index).score(1.5).runner_up(1 - index, 2.5).work_tokens(7);
    }
    void on_event(const pointsman_event &event) noexcept override {
        if (event.kind == POINTSMAN_EVENT_WORKER_ADDED) workers_++;
    }

  private:
    int *alive_;
    unsigned next_ = 0;
    int workers_ = 0;
};

static void own_policy() {
    int alive = 0;
    {
        auto builder = pointsman::builder::make();
        CHECK(builder && builder->config(R"({"policy": "random"})") && builder->policy("turns"));
        auto make = [&alive](std::string_view options) -> std::unique_ptr<pointsman::policy> {
            if (options != "null") return nullptr;
            return std::make_unique<turns>(&alive);
        };
        CHECK(builder->add_policy("turns", make));
        CHECK(!builder->add_policy("turns", make));
#if !defined(POINTSMAN_TEST_PLAIN)
        // What a factory throws stays with the library, as a refusal.
        auto thrower = [](std::string_view) -> std::unique_ptr<pointsman::policy> { throw 1; };
        CHECK(builder->add_policy("thrower", thrower) && builder->add_policy("empty", nullptr));
#endif
        auto router = builder->build();
        CHECK(router && alive == 1);
        auto a = router->add_worker(pointsman::worker_spec("a"));
        auto b = router->add_worker(pointsman::worker_spec("b"));
        CHECK(a && b);
        for (int i = 0; i < 10; i++) {
            auto chosen = router->select(pointsman::request());
            CHECK(chosen->worker() == (i % 2 == 0 ? *a : *b));
            CHECK(chosen->runner_up() == (i % 2 == 0 ? *b : *a));
            CHECK(chosen->score() == 1.5 && chosen->runner_up_score() == 2.5);
        }
        CHECK(!router->set_policy(R"({"custom": {"name": "turns", "options": 1}})"));
#if !defined(POINTSMAN_TEST_PLAIN)
        for (const char *name : {"thrower", "empty"}) {
            auto refused = router->set_policy(name);
            CHECK(!refused && refused.error().code == POINTSMAN_INVALID_CONFIG);
        }
#endif
    }
    CHECK(alive == 0);
}

static void statuses() {
    auto of = [](std::uint32_t status, std::chrono::nanoseconds retry_after = 0ns) {
        return *pointsman::outcome_of_http_status(status, retry_after).raw();
    };
    CHECK(of(200).outcome == POINTSMAN_OUTCOME_SUCCESS);
    CHECK(of(429).outcome == POINTSMAN_OUTCOME_OVERLOADED && of(429).retry_after == 1000000000);
    CHECK(of(503, 5s).outcome == POINTSMAN_OUTCOME_OVERLOADED);
    CHECK(of(503, 5s).retry_after == 5000000000 && of(503, -5s).outcome == POINTSMAN_OUTCOME_WORKER_ERROR);
    CHECK(name(pointsman::outcome::timeout) == "timeout" && name(pointsman::outcome::expired) == "expired");
    CHECK(name(pointsman::outcome{99}) == "unknown" && name(pointsman::reason{99}) == "unknown");
    CHECK(name(pointsman::reason::least_resident) == "least_resident");
    CHECK(of(0).outcome == POINTSMAN_OUTCOME_WORKER_ERROR);
    pointsman::completion end;
    const pointsman_completion *counts = end.usage_excluding_cached(30, 64, 6, 7).raw();
    CHECK(counts->prompt_tokens == 100 && counts->cached_tokens == 64 && counts->completion_tokens == 7);
}

/* Times are those of any clock that is not set back, or what has passed since any beginning. */
static void times() {
    auto router = pointsman::router::make(R"({"policy": "random", "ticket_deadline_secs": 10})");
    CHECK(router && router->add_worker(pointsman::worker_spec("a"), 100s));
    auto kept = router->select(pointsman::request().at(100s));
    auto lost = router->select(pointsman::request().at(100s));
    CHECK(kept && lost && kept->progress(109s) && router->tick(115s));
    CHECK(lost->complete().error().code == POINTSMAN_ALREADY_CLOSED);
    CHECK(kept->complete(pointsman::completion().at(116s)));
    CHECK(router->metrics(116s)->tickets_expired == 1);

    auto other = pointsman::router::make();
    const auto now = std::chrono::steady_clock::now();
    CHECK(other && other->add_worker(pointsman::worker_spec("a"), now));
    auto chosen = other->select(pointsman::request().at(now));
    CHECK(chosen && chosen->first_token(0, now + 1ms) && chosen->complete());
    CHECK(pointsman::time(now).since_beginning() == now.time_since_epoch());
    CHECK(pointsman::time().raw() == POINTSMAN_NOW);
}

/* What is left of a router whose owner has let go of it. */
static void survivors() {
    int alive = 0, lines = 0;
    std::optional<pointsman::selection> last;
    std::optional<pointsman::pair_selection> pair;
    {
        auto builder = pointsman::builder::make();
        struct counted {
            explicit counted(int *count) : count_(count) { ++*count_; }
            counted(const counted &other) : count_(other.count_) { ++*count_; }
            ~counted() { --*count_; }
            int *count_;
        };
        CHECK(builder && builder->log(pointsman::log_level::debug,
                                      [&lines, it = counted(&alive)](pointsman::log_level, std::string_view) {
                                          CHECK(*it.count_ > 0);
                                          lines++;
                                      }));
        auto router = builder->build();
        // Routers that were built keep what they were built with.
        CHECK(router && builder->log(pointsman::log_level::none, nullptr) && alive == 1);
        CHECK(router->add_worker(pointsman::worker_spec("a")));
        CHECK(router->add_worker(pointsman::worker_spec("p").role(pointsman::role::prefill)));
        CHECK(router->add_worker(pointsman::worker_spec("d").role(pointsman::role::decode)));
        last = *router->select(pointsman::request());
        pair = *router->select_pair(pointsman::request());
        auto dropped = router->select(pointsman::request());
        auto moved = std::move(*router);
        CHECK(dropped && in_flight(moved) == 4);
        auto detached = moved.select_detached(pointsman::request());
        CHECK(detached && detached->worker() == last->worker());
        CHECK(moved.complete(detached->ticket()) && in_flight(moved) == 4);
    }
    CHECK(alive == 1 && lines > 3);
    CHECK(last->first_token(3) && last->progress() && pair->first_token());
    CHECK(last->complete(pointsman::outcome::worker_error) && pair->complete());
    last.reset();
    CHECK(alive == 1);
    pair.reset();
    CHECK(alive == 0);
}

static void threads() {
    auto router = pointsman::router::make(R"({"policy": "round_robin"})");
    CHECK(router && router->add_worker(pointsman::worker_spec("a")));
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&router] {
            for (int n = 0; n < 1000; n++) {
                auto chosen = router->select(pointsman::request());
                CHECK(chosen);
                if (n % 2 == 0) CHECK(chosen->complete());
            }
        });
    }
    for (auto &thread : threads) thread.join();
    CHECK(in_flight(*router) == 0 && router->metrics()->decisions == 8000);
}

int main() {
    ownership();
    everything_else();
    fingerprints();
    engines();
    settings();
    own_policy();
    statuses();
    times();
    survivors();
    threads();
    std::puts("owning: all well");
}
