#pragma once

#include <Random123/philox.h>

#include <cmath>
#include <cstdint>

namespace bliss {

/// What a stream of random numbers is for: streams of different purposes never overlap.
enum class StreamPurpose : std::uint32_t {
    catalog = 1,
    noise = 2,
    conditions = 3,
    mask = 4,
    crop = 5,
    posterior = 7,       ///< counts, places and fluxes of a draw
    galaxy = 8,          ///< stamps of single galaxies
    posterior_kind = 9,  ///< types and shapes of a draw
    shape = 10,          ///< shapes that a galaxy's marginals are taken over
    star_steps = 11,     ///< Metropolis-Hastings steps of crowded stars
    clumps = 12,         ///< uneven light of galaxies
};

/// A counter-based generator (Philox 4x32-10): the k-th number depends only on (seed, purpose, step, sample, part, k).
/// So a sample is the same on whichever rank or thread it is made, and a restart needs no generator state.
/// @source Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
class RandomStream {
public:
    /// @param part splits one sample's numbers into independent streams, for example one an image row; below 2^24
    RandomStream(std::uint64_t seed, StreamPurpose purpose, std::uint32_t step, std::uint32_t sample, std::uint32_t part = 0)
        : key_{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}},
          counter_{{0, static_cast<std::uint32_t>(purpose) | part << 8, step, sample}} {}

    /// Uniform on the open interval (0, 1), 24 bits.
    double uniform() { return to_open_unit(bits()); }

    double uniform(double low, double high) { return low + (high - low) * uniform(); }

    /// Between two positive numbers, uniform in the logarithm.
    double log_uniform(double low, double high) { return std::exp(uniform(std::log(low), std::log(high))); }

    /// Standard Normal (Box-Muller).
    double normal();

    /// Poisson with the mean given: by multiplication below mean 30, by rounding-free rejection (PTRS, Hoermann 1993) above.
    std::int64_t poisson(double mean);

    /// Gamma with the shape given and scale 1 (Marsaglia and Tsang 2000).
    double gamma(double shape);

    /// The next 32 random bits.
    std::uint32_t bits() {
        if (used_ == 4) {
            block_ = r123::Philox4x32{}(counter_, key_);
            ++counter_[0];
            used_ = 0;
        }
        return block_[used_++];
    }

    /// Maps 32 random bits to (0, 1), symmetric about 1/2.
    static double to_open_unit(std::uint32_t bits) { return ((bits >> 8) + 0.5) * 0x1p-24; }

private:
    r123::Philox4x32::key_type key_;
    r123::Philox4x32::ctr_type counter_;
    r123::Philox4x32::ctr_type block_{};
    int used_ = 4;
    double spare_normal_ = 0;
    bool has_spare_ = false;
};

}  // namespace bliss
