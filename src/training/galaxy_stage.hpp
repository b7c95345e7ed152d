#pragma once

#include "bliss/encoder/model.hpp"
#include "bliss/training/config.hpp"
#include "bliss/training/run.hpp"

#include <optional>

namespace bliss::training {

/// The decoder of the file that the configuration names, if it names one and its prior is of learnt galaxies.
/// @throws DataError, IoError on all ranks. @collective
[[nodiscard]] std::optional<encoder::Galaxies> named_galaxies(const TrainingConfig& config, const RunOptions& options,
                                                              const comm::Communicator& comm);

/// The galaxies of a training's prior: nothing where they are bulge + disk; the named decoder; that of galaxies.safetensors in the output
/// folder, where it was trained with the same settings; else one is trained and written there. A dry run trains none: it has few steps.
/// @throws DataError, IoError on all ranks. @collective
[[nodiscard]] std::optional<encoder::Galaxies> galaxy_stage(const TrainingConfig& config, const RunOptions& options,
                                                            std::optional<encoder::Galaxies> named, const comm::Communicator& comm);

}  // namespace bliss::training
