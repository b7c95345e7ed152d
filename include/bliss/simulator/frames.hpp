#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/core/config.hpp"
#include "bliss/simulator/simulation.hpp"

#include <cstdint>
#include <filesystem>

namespace bliss::simulator {

enum class FramesLayout {
    images,  ///< images of their own, for the generic reader
    stripe,  ///< fields of one sky that overlap, in SDSS's files
};

/// A stripe as SDSS scans it: along right ascension each camera column takes fields that overlap a little; a second strip fills the gaps
/// between the columns of the first. Defaults are SDSS's, but for the length.
struct StripeConfig {
    std::int64_t run = 94;  ///< of the first strip; the second has the next number
    std::int64_t strips = 2;
    std::int64_t camcols = 6;
    std::int64_t fields_per_camcol = 10;
    std::int64_t first_field = 11;
    std::int64_t overlap_rows_px = 128;  ///< of a field with the next of its column
    std::int64_t overlap_cols_px = 128;  ///< of a column with the next of the other strip
    double ra_deg = 340;                 ///< where the scan begins
    double dec_deg = 0;                  ///< middle of the stripe
    double dense_factor = 1;             ///< how many times as dense the sky is in the field in the middle of the first column
    std::int64_t broken_fields = 0;      ///< with files that cannot be used
};

/// A run of `bliss-mpi simulate`: whole frames with their truth.
struct FramesConfig {
    std::int64_t seed = 1;
    FramesLayout layout = FramesLayout::images;
    std::int64_t frames = 1;  ///< of images
    StripeConfig stripe;
    std::int64_t height_px = 1489;
    std::int64_t width_px = 2048;
    std::string band = "r";
    double electrons_per_nmgy = 987;  ///< calibration written to the frames
    std::string galaxy_model;         ///< file of the galaxy decoder (relative paths: to the configuration file)
    SimulatorConfig simulator;
};

void describe(ConfigVisitor& visitor, StripeConfig& config);
void describe(ConfigVisitor& visitor, FramesConfig& config);

/// How many frames a configuration asks for.
[[nodiscard]] std::int64_t frame_count(const FramesConfig& config);

/// Layout "images": writes for each frame i: frame-000i.fits (electrons, with a WCS), mask-000i.fits (not 0 = do not use), frame-000i.toml
/// (for the generic reader, exact PSF and background), truth-000i.fits (table TRUTH: all sources on the frame), and one
/// catalog.toml that names all frames. Layout "stripe": see write_stripe. Ranks share the frames; the files do not depend on their number.
/// @param decoder of learnt galaxies, else null
/// @throws ConfigError, IoError, FitsError on all ranks. @collective
void write_frames(const FramesConfig& config, const GalaxyDecoder* decoder, const std::filesystem::path& folder,
                  const comm::Communicator& comm);

/// Layout "images" of samples `first` and on, which a training saw, say: frame i is sample first.first_sample + i. @collective
void write_samples(const FramesConfig& config, const GalaxyDecoder* decoder, const SampleRange& first, const std::filesystem::path& folder,
                   const comm::Communicator& comm);

}  // namespace bliss::simulator
