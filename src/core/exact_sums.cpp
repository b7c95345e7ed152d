#include "bliss/core/exact_sums.hpp"

#include "bliss/core/check.hpp"

#include <algorithm>
#include <cmath>

namespace bliss {
ExactSums::ExactSums(std::size_t size, int fraction_bits)
    : most_{std::ldexp(1.0f, 53 - fraction_bits)}, unit_{std::ldexp(1.0, -fraction_bits)}, sums_(size) {}

void ExactSums::clear() { std::ranges::fill(sums_, 0); }

bool ExactSums::add(std::span<const float> terms) {
    BLISS_EXPECT(terms.size() == sums_.size(), "there is one term for each sum");
    std::uint32_t outside = 0;
    const float most = most_;
    for (const float term : terms) outside |= std::abs(term) < most ? 0u : 1u;  // also where it is no number
    if (outside != 0) return false;
    const double per_unit = 1 / unit_;
    for (std::size_t k = 0; k < terms.size(); ++k)
        sums_[k] += static_cast<std::int64_t>(std::nearbyint(static_cast<double>(terms[k]) * per_unit));
    return true;
}

void ExactSums::add(const ExactSums& other, std::size_t begin, std::size_t end) {
    BLISS_EXPECT(other.size() == size() && begin <= end && end <= size(), "sums of vectors of one length");
    for (std::size_t k = begin; k < end; ++k) sums_[k] += other.sums_[k];
}

void ExactSums::read(std::span<float> out) const {
    BLISS_EXPECT(out.size() == sums_.size(), "there is room for every sum");
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = static_cast<float>(static_cast<double>(sums_[k]) * unit_);
}

}  // namespace bliss
