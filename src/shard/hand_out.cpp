#include "bliss/shard/hand_out.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/comm/environment.hpp"
#include "bliss/core/error.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

namespace bliss::shard {
namespace {

constexpr int k_request = 1, k_answer = 2, k_text = 3;
/// The program's exit status for anything fatal.
constexpr int k_abort_status = 3;
/// How long rank 0 looks away when nobody asks. Ranks ask a whole field ahead of when they need it.
constexpr std::chrono::microseconds k_pause{500};

struct Request {
    std::int32_t stop = 0;  ///< nothing more is to be handed out to anybody
};

struct Answer {
    std::int64_t index = -1;  ///< none
};

}  // namespace

HandOut::HandOut(const comm::Communicator& comm, std::vector<std::int64_t> todo, Describe describe,
                 std::function<void(const HandOutProgress&)> progress)
    : comm_{comm.duplicate()}, todo_{std::move(todo)}, describe_{std::move(describe)}, progress_{std::move(progress)} {
    comm::agree_on(comm_, [&] {
        if (comm_.rank() != 0 || comm_.size() == 1) return;
        server_ = std::thread([this] {
            try {
                serve();
            } catch (const std::exception& error) {  // the others would wait for ever
                spdlog::critical("rank 0 cannot hand out fields: {}; run again: what is in the journals is kept", error.what());
                comm::abort_all_ranks(k_abort_status);
            }
        });
    });
}

HandOut::~HandOut() {
    if (!told_) {
        stop();
        try {
            while (next()) {
            }
        } catch (const std::exception& error) {
            spdlog::error("the hand-out of fields ended with: {}", error.what());
        }
    }
    if (server_.joinable()) server_.join();
}

std::optional<Work> HandOut::take() {
    const std::lock_guard lock{mutex_};
    stopped_ = stopped_ || stopping_;
    if (stopped_ || next_ == todo_.size()) return {};
    const std::int64_t index = todo_[next_];
    ++next_;
    if (progress_) progress_({std::ssize(todo_), static_cast<std::int64_t>(next_)});
    return Work{index, describe_(index)};
}

std::optional<Work> HandOut::next() {
    std::optional<Work> work;
    if (comm_.rank() == 0) {
        work = take();
    } else {
        comm_.send(Request{stopping_ ? 1 : 0}, 0, k_request);
        const auto answer = comm_.receive<Answer>(0, k_answer);
        if (answer.index >= 0) work = Work{answer.index, comm_.receive_text(0, k_text)};
    }
    told_ = !work;
    return work;
}

void HandOut::serve() {
    for (int told = 1; told < comm_.size();) {
        const std::optional<int> rank = comm_.poll(k_request);
        if (!rank) {
            std::this_thread::sleep_for(k_pause);
            continue;
        }
        if (comm_.receive<Request>(*rank, k_request).stop != 0) stop();
        const std::optional<Work> work = take();
        comm_.send(Answer{work ? work->index : -1}, *rank, k_answer);
        if (!work) {
            ++told;
            continue;
        }
        comm_.send(work->text, *rank, k_text);
    }
}

}  // namespace bliss::shard
