#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/training/config.hpp"

#include <cstdint>
#include <filesystem>

namespace bliss::training {

/// The galaxy decoder's file in the output folder, where one was trained.
inline constexpr const char* k_galaxies_file = "galaxies.safetensors";

struct RunOptions {
    std::filesystem::path output;         ///< folder of model, galaxies, metrics.jsonl, config.toml and checkpoints
    std::filesystem::path config_folder;  ///< what relative paths of the configuration start from
    bool fresh = false;                   ///< start over even where a checkpoint is there
    bool dry_run = false;                 ///< one step, then stop: prints its speed, writes nothing
};

struct RunSummary {
    std::int64_t steps_done = 0;
    std::int64_t steps_left = 0;  ///< the program was asked to stop, and goes on from its checkpoint
};

/// A whole training: resumes where a checkpoint is, writes metrics as JSON lines, checkpoints, and at the end the model. Where the program
/// is asked to stop (core/interrupt.hpp) it ends after the present step, with a checkpoint; galaxies that are being learnt then are learnt
/// from the start the next time.
/// @throws ConfigError, DataError, IoError on all ranks. @collective
RunSummary run(const TrainingConfig& config, const RunOptions& options, const comm::Communicator& comm);

}  // namespace bliss::training
