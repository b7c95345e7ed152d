#include "bliss/comm/pending_sum.hpp"

#include "bliss/comm/native.hpp"
#include "check.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

namespace bliss::comm {
namespace {

using detail::check;
using Clock = std::chrono::steady_clock;

/// Between two looks at a sum: MPI makes progress while it is looked at, and not otherwise.
constexpr std::chrono::microseconds k_pause{100};
/// Most values of one MPI call.
constexpr std::size_t k_piece = std::numeric_limits<int>::max() / 16;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

PendingSum::PendingSum(const Communicator& comm, std::span<std::int64_t> values) {
    if (comm.size() == 1 || values.empty()) return;
    const auto start = Clock::now();
    std::vector<MPI_Request> requests;
    for (std::size_t begin = 0; begin < values.size(); begin += k_piece) {
        const int count = static_cast<int>(std::min(k_piece, values.size() - begin));
        check(MPI_Iallreduce(MPI_IN_PLACE, values.data() + begin, count, MPI_INT64_T, MPI_SUM, native(comm), &requests.emplace_back()),
              "MPI_Iallreduce");
    }
    thread_ = std::thread([this, start, requests = std::move(requests)]() mutable {
        try {
            for (int done = 0; done == 0;) {
                check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
                if (done == 0) std::this_thread::sleep_for(k_pause);
            }
        } catch (...) {
            failure_ = std::current_exception();
        }
        took_s_ = seconds_since(start);
    });
}

PendingSum::~PendingSum() {
    if (thread_.joinable()) thread_.join();
}

double PendingSum::wait() {
    const auto start = Clock::now();
    if (thread_.joinable()) thread_.join();
    if (failure_) std::rethrow_exception(failure_);
    return seconds_since(start);
}

}  // namespace bliss::comm
