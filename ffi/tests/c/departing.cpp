// Owners that die inside a callback of what they own, and objects that were moved away.
#include <pointsman.hpp>

#include <functional>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

// How many copies of a callback's own data are alive.
int alive = 0;

// Data of a callback: what it does, and text that must be whole while it does it.
class data {
  public:
    explicit data(std::function<void()> act) : act_(std::move(act)) { ++alive; }
    data(const data &other) : act_(other.act_) { ++alive; }
    ~data() {
        --alive;
        text_.assign(64, '?');
    }
    // Does it once, and is still there afterwards.
    void act() {
        if (!act_) return;
        const auto once = std::exchange(act_, nullptr);
        once();
        CHECK(alive > 0 && text_ == std::string(64, 'x'));
    }

  private:
    std::function<void()> act_;
    std::string text_ = std::string(64, 'x');
};

struct owners {
    std::optional<pointsman::router> router;
    std::optional<pointsman::selection> selection;
    std::optional<pointsman::pair_selection> pair;
};

// A router whose callback of one kind does this the first time.
enum class kind { log, decisions, health };

pointsman::router make(kind which, std::function<void()> act) {
    auto builder = pointsman::builder::make();
    CHECK(builder && builder->policy("round_robin"));
    switch (which) {
        case kind::log:
            CHECK(builder->log(pointsman::log_level::debug,
                               [it = data(act)](pointsman::log_level, std::string_view line) mutable {
                                   if (line.find("added") == std::string_view::npos) it.act();
                               }));
            break;
        case kind::decisions:
            CHECK(builder->decision_log(1, [it = data(act)](const pointsman::decision_record &) mutable { it.act(); }));
            break;
        case kind::health:
            CHECK(builder->health_log([it = data(act)](const pointsman::health_change &) mutable { it.act(); }));
    }
    auto made = builder->build();
    CHECK(made && made->add_worker(pointsman::worker_spec("a")));
    CHECK(made->add_worker(pointsman::worker_spec("b")));
    CHECK(made->add_worker(pointsman::worker_spec("p").role(pointsman::role::prefill)));
    CHECK(made->add_worker(pointsman::worker_spec("d").role(pointsman::role::decode)));
    return std::move(*made);
}

// The router goes while it selects: what was selected keeps it, or it goes with the call.
void routers() {
    for (const kind which : {kind::log, kind::decisions}) {
        owners its;
        its.router.emplace(make(which, [&its] { its.router.reset(); }));
        {
            auto chosen = its.router->select(pointsman::request());
            CHECK(chosen && !its.router && alive == 1 && chosen->first_token());
        }
        CHECK(alive == 0);
        its.router.emplace(make(which, [&its] { its.router.reset(); }));
        {
            auto pair = its.router->select_pair(pointsman::request());
            CHECK(pair && !its.router && alive == 1 && pair->complete());
        }
        CHECK(alive == 0);
        its.router.emplace(make(which, [&its] { its.router.reset(); }));
        CHECK(its.router->select_detached(pointsman::request()) && !its.router && alive == 0);
    }
    owners its;
    its.router.emplace(make(kind::log, [&its] { its.router.reset(); }));
    const auto worker = its.router->find_worker("a");
    CHECK(worker && its.router->drain_worker(*worker) && !its.router && alive == 0);
}

// The last selection goes while it is completed: the third failure in a row ejects its worker.
void selections() {
    owners its;
    its.router.emplace(make(kind::health, [&its] { its.selection.reset(); }));
    const auto worker = its.router->find_worker("a");
    for (int i = 0; i < 3; i++) {
        CHECK(worker && alive == 1);
        its.selection.emplace(*its.router->select(pointsman::request().allow({*worker})));
        if (i == 2) its.router.reset();
        CHECK(its.selection->complete(pointsman::outcome::worker_error));
    }
    CHECK(!its.selection && alive == 0);
    its.router.emplace(make(kind::decisions, [&its] {
        // The other owners go, and with them what they hold.
        its.selection.reset(), its.pair.reset(), its.router.reset();
    }));
    auto raw = its.router->raw();
    // A call that the C++ layer does not see: the router goes with its next one.
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    CHECK(pointsman_select(raw, &request, &chosen) == POINTSMAN_OK);
    CHECK(!its.router && alive == 1 && pointsman_complete(raw, chosen.ticket, nullptr) == POINTSMAN_OK);
    auto other = pointsman::router::make();
    CHECK(other && other->metrics() && alive == 0);
}

// A policy whose events drop a router, and a maker that drops the builder that asks it.
class dropping : public pointsman::policy {
  public:
    explicit dropping(owners *its) : its_(its) { ++alive; }
    ~dropping() override { --alive; }
    std::optional<pointsman::choice> select(const pointsman_candidates &,
                                            const pointsman_request_view &) noexcept override {
        return 0;
    }
    void on_event(const pointsman_event &event) noexcept override {
        if (event.kind != POINTSMAN_EVENT_COMPLETE) return;
        its_->router.reset();
        CHECK(alive == 1);
    }

  private:
    owners *its_;
};

void policies() {
    owners its;
    std::optional<pointsman::builder> builder(*pointsman::builder::make());
    CHECK(builder->policy("dropping"));
    auto maker = [&](std::string_view) {
        builder.reset();
        return std::make_unique<dropping>(&its);
    };
    CHECK(builder->add_policy("dropping", maker, POINTSMAN_POLICY_WANTS_REQUEST_EVENTS));
    its.router.emplace(*builder->build());
    CHECK(!builder && its.router->add_worker(pointsman::worker_spec("a")) && alive == 1);
    {
        auto chosen = its.router->select(pointsman::request());
        CHECK(chosen && chosen->complete() && !its.router && alive == 1);
    }
    CHECK(alive == 0);
}

// Every call on what was moved away is refused, or does nothing.
void moved_away() {
    const auto refused = [](const auto &result) {
        return !result && result.error().code == POINTSMAN_INVALID_ARGUMENT;
    };
    auto made = pointsman::router::make();
    CHECK(made);
    pointsman::router router = std::move(*made), &gone = *made;
    const auto id = router.add_worker(pointsman::worker_spec("a"));
    auto chosen = router.select(pointsman::request());
    CHECK(id && chosen && gone.raw() == nullptr && gone.now().since_beginning().count() == 0);
    CHECK(refused(gone.add_worker(pointsman::worker_spec("b"))) && refused(gone.remove_worker(*id)));
    CHECK(refused(gone.drain_worker(*id)) && refused(gone.resume_worker(*id)));
    CHECK(refused(gone.set_weight(*id, 1)) && refused(gone.set_max_in_flight(*id, 1)));
    CHECK(refused(gone.set_health(*id, pointsman::health::healthy)));
    CHECK(refused(gone.report_load(*id, pointsman::load())) && refused(gone.find_worker("a")));
    CHECK(refused(gone.worker_url(*id)) && refused(gone.worker_slot(*id)));
    CHECK(refused(gone.update_worker(*id, pointsman::worker_change())) && refused(gone.describe_workers()));
    CHECK(refused(gone.describe_worker(*id)) && refused(gone.workers()));
    CHECK(refused(gone.select(pointsman::request())) && refused(gone.select_pair(pointsman::request())));
    CHECK(refused(gone.select_detached(pointsman::request())));
    CHECK(refused(gone.first_token(1)) && refused(gone.progress(1)) && refused(gone.complete(1)));
    std::vector<std::uint64_t> hashes(4);
    CHECK(refused(gone.fingerprint(pointsman::request::text("a"), hashes)));
    CHECK(gone.print(*chosen)->find("\"ticket\"") != std::string::npos);
    CHECK(refused(gone.policy()) && refused(gone.set_policy("random")));
    CHECK(refused(gone.set_policies("random", {}, {})) && refused(gone.set_shadow("random")));
    CHECK(refused(gone.set_split("random", 0.5)) && refused(gone.tick()) && refused(gone.after_fork()));
    CHECK(refused(gone.metrics()) && refused(gone.prometheus()) && refused(gone.prometheus_families()));
    CHECK(refused(pointsman::fingerprinter::make(gone)));

    pointsman::selection kept = std::move(*chosen), &empty = *chosen;
    CHECK(empty.first_token() && empty.progress() && empty.complete() && kept.complete());
    auto printer = pointsman::fingerprinter::make(router);
    CHECK(printer);
    pointsman::fingerprinter taken = std::move(*printer);
    CHECK(refused(printer->begin(pointsman::prompt_kind::text)) && refused(printer->push("a")));
    CHECK(refused(printer->finish()) && refused(printer->body()));
    CHECK(taken.begin(pointsman::prompt_kind::text));
    auto builder = pointsman::builder::make();
    CHECK(builder);
    pointsman::builder other = std::move(*builder);
    CHECK(refused(builder->build()) && refused(builder->policy("random")) && other.build());
    gone = std::move(router);
    CHECK(gone.worker_url(*id) && refused(router.workers()));
}

}  // namespace

int main() {
    routers();
    selections();
    policies();
    moved_away();
    std::puts("departing: all well");
}
