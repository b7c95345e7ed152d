#pragma once

#include "bliss/simulator/frames.hpp"

namespace bliss::simulator {

/// Writes a stripe: many fields of one sky in SDSS's files, laid out as RUN/CAMCOL, so that a survey of any size can be tried end to end.
/// Where fields overlap they see the same sources, each with its own seeing, sky, calibration, noise and bad pixels; seeing and the density
/// of sources change slowly along the scan. Beside them: truth/truth-RRRRRR-C-FFFF.fits of each field (ID names a source in all fields),
/// fields.txt with all fields, also the broken ones, and catalog.toml. Ranks share the fields; the files do not depend on their number.
/// @throws ConfigError for overlaps as wide as half a field, IoError, FitsError on all ranks. @collective
void write_stripe(const FramesConfig& config, const GalaxyDecoder* decoder, const std::filesystem::path& folder,
                  const comm::Communicator& comm);

}  // namespace bliss::simulator
