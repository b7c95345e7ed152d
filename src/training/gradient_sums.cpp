#include "gradient_sums.hpp"

#include <algorithm>

namespace bliss::training {
namespace {

/// Sums that one thread takes at once.
constexpr std::size_t k_at_once = 1 << 14;

}  // namespace

std::unique_ptr<comm::PendingSum> begin_sum(ExactSums& total, const std::vector<const ExactSums*>& of_threads,
                                            const comm::Communicator& comm) {
    total.clear();
    tile::for_each_on_one_thread(static_cast<std::int64_t>((total.size() + k_at_once - 1) / k_at_once), [&](std::int64_t k) {
        const std::size_t begin = static_cast<std::size_t>(k) * k_at_once, end = std::min(total.size(), begin + k_at_once);
        for (const ExactSums* const sums : of_threads) total.add(*sums, begin, end);
    });
    return std::make_unique<comm::PendingSum>(comm, total.integers());
}

}  // namespace bliss::training
