#include "bliss/shard/hand_out.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <numeric>

namespace {

using namespace bliss;
using namespace std::chrono_literals;

std::vector<std::int64_t> list(const comm::Communicator& comm, std::int64_t count) {
    std::vector<std::int64_t> todo(comm.rank() == 0 ? static_cast<std::size_t>(count) : 0);
    std::iota(todo.begin(), todo.end(), 0);
    return todo;
}

std::string describe(std::int64_t index) {
    return "piece " + std::to_string(index) + std::string(static_cast<std::size_t>(index % 5), '!');
}

/// What a rank got, with the time that each piece takes it.
std::vector<std::int64_t> work_off(shard::HandOut& hand_out, std::chrono::milliseconds each) {
    std::vector<std::int64_t> got;
    while (const auto work = hand_out.next()) {
        CHECK(work->text == describe(work->index));
        got.push_back(work->index);
        std::this_thread::sleep_for(each);
    }
    return got;
}

}  // namespace

TEST_CASE("every piece is handed out once, in order, and each rank gets what it asks for") {
    const auto comm = comm::Communicator::world();
    for (const std::int64_t count : {0, 1, 3, 200}) {
        std::vector<std::int64_t> progress, mine;
        {
            shard::HandOut hand_out{comm, list(comm, count), describe,
                                    [&](const shard::HandOutProgress& now) { progress.push_back(1000 * now.total + now.handed_out); }};
            mine = work_off(hand_out, 0ms);
        }
        CHECK(std::ranges::is_sorted(mine));
        std::vector<std::int64_t> all = comm.gather_v(mine), expected(static_cast<std::size_t>(count));
        std::ranges::sort(all);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(all == expected);
        CHECK(std::ssize(progress) == (comm.rank() == 0 ? count : 0));
        if (count > 0 && comm.rank() == 0) CHECK(progress.back() == 1001 * count);
    }
}

TEST_CASE("a slow rank does not hold up the others") {
    const auto comm = comm::Communicator::world();
    if (comm.size() == 1) return;
    const int slow = comm.size() - 1;
    for (const int which : {0, slow}) {  // also where it is the one that hands out
        shard::HandOut hand_out{comm, list(comm, 40), describe};
        const auto mine = work_off(hand_out, comm.rank() == which ? 200ms : 2ms);
        const auto counts = comm.all_gather(static_cast<std::int64_t>(mine.size()));
        CHECK(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == 40);
        CHECK(counts[static_cast<std::size_t>(which)] <= 5);
    }
}

TEST_CASE("when a rank stops, nobody gets any more; one that leaves early or throws lets nobody wait") {
    const auto comm = comm::Communicator::world();
    for (int stopping = 0; stopping < comm.size(); ++stopping) {
        std::vector<std::int64_t> mine;
        {
            shard::HandOut hand_out{comm, list(comm, 100000), describe};
            while (const auto work = hand_out.next()) {
                mine.push_back(work->index);
                if (comm.rank() == stopping && mine.size() == 3) hand_out.stop();
                std::this_thread::sleep_for(1ms);
            }
        }
        CHECK(comm.all_reduce_sum(static_cast<std::int64_t>(mine.size())) < 50000);
    }
    const auto throws = [&](int which) {
        comm::agree_on(comm, [&] {
            shard::HandOut hand_out{comm, list(comm, 100000), describe};
            int got = 0;
            while (hand_out.next()) {
                if (comm.rank() == which && ++got == 2) throw IoError("the disk is full");
                std::this_thread::sleep_for(1ms);
            }
        });
    };
    for (int which = 0; which < comm.size(); ++which) CHECK_THROWS_AS(throws(which), IoError);
}
