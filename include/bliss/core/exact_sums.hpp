#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bliss {

/// Sums of vectors of floats that do not depend on the order of their terms. Terms are rounded to multiples of a power of two and added as
/// integers: however threads and ranks share the terms among them, all sums together have the same bits.
class ExactSums {
public:
    /// @param fraction_bits terms are rounded to multiples of 2^-fraction_bits; those of 2^(53 - fraction_bits) or more are refused, and a
    /// thousand of the largest fit. 40: 9e-13 and 8192.
    explicit ExactSums(std::size_t size, int fraction_bits = 40);

    [[nodiscard]] std::size_t size() const { return sums_.size(); }

    void clear();

    /// Adds one vector of terms. @return whether all are finite and within the range; where not, nothing is added
    [[nodiscard]] bool add(std::span<const float> terms);

    /// Adds what another one holds, of sums `begin` to `end`.
    void add(const ExactSums& other, std::size_t begin, std::size_t end);

    void read(std::span<float> out) const;

    /// The sums as integers, to be added up over ranks.
    [[nodiscard]] std::span<std::int64_t> integers() { return sums_; }

private:
    float most_;   ///< terms are smaller
    double unit_;  ///< of the integers
    std::vector<std::int64_t> sums_;
};

}  // namespace bliss
