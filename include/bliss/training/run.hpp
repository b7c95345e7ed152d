#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/training/config.hpp"

#include <filesystem>

namespace bliss::training {

struct RunOptions {
    std::filesystem::path output;  ///< folder of model, galaxies, metrics.jsonl, config.toml and checkpoint
    std::filesystem::path config_folder;  ///< what relative paths of the configuration start from
    bool fresh = false;            ///< start over even where a checkpoint is there
    bool dry_run = false;          ///< one step, then stop: prints its speed, writes nothing
};

/// A whole training: resumes where a checkpoint is, writes metrics as JSON lines, checkpoints, and at the end the model.
/// @throws ConfigError, DataError, IoError on all ranks. @collective
void run(const TrainingConfig& config, const RunOptions& options, const comm::Communicator& comm);

}  // namespace bliss::training
