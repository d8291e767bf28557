// A gateway's request path in C++: the selection gives its load back however the function is left.
#include <pointsman.hpp>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

// What a worker's answer says; here made up.
struct answer {
    bool well;
    std::uint32_t prompt_tokens;
};

answer send(std::uint64_t worker, const std::string &body) {
    return {worker != 2, static_cast<std::uint32_t>(body.size() / 4)};
}

int serve(pointsman::router &router, const std::string &body) {
    std::vector<pointsman::worker_id> failed;
    for (int tries = 0; tries < 3; tries++) {
        auto chosen = router.select(pointsman::request::json(body).exclude(failed));
        if (!chosen) return chosen.error().code == POINTSMAN_BAD_BODY ? 400 : 503;
        const answer got = send(chosen->user_data(), body);
        if (got.well) {
            (void)chosen->complete(pointsman::completion().prompt_tokens(got.prompt_tokens));
            return 200;
        }
        (void)chosen->complete(pointsman::outcome::worker_error);
        failed.push_back(chosen->worker());
    }
    return 502;
}

}  // namespace

int main() {
    auto made = pointsman::router::make(R"({"policy": "cache_aware"})");
    if (!made) {
        std::cerr << made.error().message << '\n';
        return 1;
    }
    pointsman::router router = std::move(*made);
    for (std::uint64_t i = 0; i < 4; i++) {
        const std::string url = "http://10.0.0." + std::to_string(i + 1) + ":8000";
        auto id = router.add_worker(pointsman::worker_spec(url).user_data(i).max_in_flight(64));
        if (!id) return 1;
    }
    std::vector<std::thread> clients;
    for (int client = 0; client < 8; client++) {
        clients.emplace_back([&router, client] {
            for (int i = 0; i < 500; i++) {
                const std::string text = "client " + std::to_string(client) + " asks " + std::to_string(i);
                serve(router, R"({"messages": [{"role": "user", "content": ")" + text + R"("}]})");
            }
        });
    }
    for (auto &client : clients) client.join();
    auto metrics = router.metrics();
    if (!metrics) return 1;
    std::cout << metrics->decisions << " decisions, " << metrics->in_flight << " in flight\n";
    return metrics->in_flight == 0 ? 0 : 1;
}
