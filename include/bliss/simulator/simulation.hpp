#pragma once

#include "bliss/simulator/conditions.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/simulator/renderer.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace bliss::simulator {

/// Everything that defines simulated images but their size and number.
struct SimulatorConfig {
    PriorConfig prior;
    ConditionsConfig conditions;
    NoiseKind noise = NoiseKind::normal;
    double tolerance_e = 0.05;  ///< light below this many electrons per pixel and Gaussian is left out
};

void describe(ConfigVisitor& visitor, SimulatorConfig& config);

/// @throws ConfigError.
void check_simulator(const SimulatorConfig& config);

/// Which images are made: sample i of step s, from the seed, is always the same image.
struct SampleRange {
    std::uint64_t seed = 0;
    std::uint32_t step = 0;
    std::uint32_t first_sample = 0;

    /// From its k-th sample on.
    [[nodiscard]] SampleRange from(std::int64_t k) const { return {seed, step, first_sample + static_cast<std::uint32_t>(k)}; }
};

/// The conditions of a range's first sample, which its image would have.
[[nodiscard]] Conditions conditions_of(const SimulatorConfig& config, const SampleRange& range);

/// Their source rate alone, labelled sources per 4x4-pixel tile.
[[nodiscard]] double rate_of(const SimulatorConfig& config, const SampleRange& range);

/// What one simulated image was made from.
struct ImageTruth {
    Conditions conditions;
    std::vector<Source> sources;   ///< all, brightest first, also nuisance and those just off the image
};

/// Where simulated images go: electrons (B, H, W) and validity (B, H, W), memory of the caller.
struct SimulationTarget {
    ImageBlock block;
    std::uint8_t* valid = nullptr;
};

/// Observes known sources: adds to images that hold the expected sky the sources' light, then noise and bad pixels, which hold
/// `background_e`. Sources farther off an image than they shine need not be given.
void observe(const SimulatorConfig& config, std::span<const ImageTruth> truths, const SampleRange& range, const SimulationTarget& target);

/// Whether a source at this distance off an image (pixels, not positive on it) shines into it.
[[nodiscard]] bool shines_into(const Source& source, double off_px);
/// No source farther off than this does.
inline constexpr double k_farthest_px = 100;

/// Draws conditions and catalogues from the prior, renders them, adds noise and bad pixels. Pixels that are not valid hold
/// the background. @param decoder of learnt galaxies, else null @return the truth of each image
/// @throws ConfigError for learnt galaxies without a decoder.
std::vector<ImageTruth> simulate(const SimulatorConfig& config, const GalaxyDecoder* decoder, const SampleRange& range,
                                 const SimulationTarget& target);

/// The tile side the source rate is quoted for, pixels.
inline constexpr std::int64_t k_rate_tile_px = 4;

}  // namespace bliss::simulator
