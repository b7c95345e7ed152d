#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/core/config.hpp"
#include "bliss/simulator/simulation.hpp"

#include <cstdint>
#include <filesystem>

namespace bliss::simulator {

/// A run of `bliss-mpi simulate`: whole frames with their truth.
struct FramesConfig {
    std::int64_t seed = 1;
    std::int64_t frames = 1;
    std::int64_t height_px = 1489;
    std::int64_t width_px = 2048;
    std::string band = "r";
    double electrons_per_nmgy = 987;     ///< calibration written to the frames
    std::string galaxy_model;            ///< file of the galaxy decoder (relative paths: to the configuration file)
    SimulatorConfig simulator;
};

void describe(ConfigVisitor& visitor, FramesConfig& config);

/// Writes for each frame i: frame-000i.fits (electrons, with a WCS), mask-000i.fits (not 0 = do not use), frame-000i.toml
/// (for the generic reader, exact PSF and background), truth-000i.fits (table TRUTH: all sources on the frame), and one
/// catalog.toml that names all frames. Ranks share the frames; the files do not depend on their number.
/// @param decoder of learnt galaxies, else null
/// @throws ConfigError, IoError, FitsError on all ranks. @collective
void write_frames(const FramesConfig& config, const GalaxyDecoder* decoder, const std::filesystem::path& folder,
                  const comm::Communicator& comm);

}  // namespace bliss::simulator
