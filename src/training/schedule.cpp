#include "schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::training {

double cosine_schedule(double highest, std::int64_t warmup_steps, std::int64_t steps, double final_share, std::int64_t step) {
    if (step < warmup_steps) return highest * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    const double span = static_cast<double>(std::max<std::int64_t>(1, steps - warmup_steps));
    const double share = std::min(1.0, static_cast<double>(step - warmup_steps) / span);
    return highest * (final_share + (1 - final_share) * 0.5 * (1 + std::cos(std::numbers::pi * share)));
}

}  // namespace bliss::training
