#pragma once

#include <cstdint>

namespace bliss::training {

/// Learning rate of a step (0-based): linear warm-up, then a cosine from `highest` to `final_share` of it at the end.
[[nodiscard]] double cosine_schedule(double highest, std::int64_t warmup_steps, std::int64_t steps, double final_share, std::int64_t step);

}  // namespace bliss::training
