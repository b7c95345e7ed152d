#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/inference/config.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>

namespace bliss::inference {

struct RunOptions {
    std::filesystem::path output;         ///< folder of catalog.h5 and run-report.json
    std::filesystem::path config_folder;  ///< what relative paths of the configuration start from
    bool dry_run = false;                 ///< read model and configuration, print the plan, write nothing
    bool fresh = false;                   ///< what earlier attempts kept in their journals is removed
    std::int64_t most_failures = 1000;    ///< a rank whose fields fail this often in a row ends the run; 0: never. Fields that failed in an
                                          ///< earlier attempt do not count
    std::chrono::seconds lock_patience{100};  ///< how long to wait for another run's end in the same folder
};

struct RunSummary {
    std::int64_t fields = 0;
    std::int64_t left = 0;  ///< not done: the program was asked to stop, or this is a dry run; then no catalogue was written
    std::int64_t failed = 0;
    std::int64_t candidates = 0;
    std::int64_t sources = 0;   ///< in the mode catalogue, each once where fields overlap
    std::int64_t seen_again = 0;  ///< rows of the mode catalogue that another field owns
};

/// Catalogues all fields of a survey: rank 0 hands them out, each rank keeps what it finished in a journal (output/journal), and at the end
/// all write one catalog.h5 together, whose bytes do not depend on ranks, order or restarts. A field that cannot be used is recorded with
/// its reason and the run goes on. A run of the same configuration, model and program goes on where an earlier one was ended; fields that
/// failed are tried again. Where all fields were done the journals are removed. One run at a time has an output folder.
/// @throws ConfigError (also where the model is of another band than an SDSS survey), DataError (model; too many failures in a row),
/// IoError, H5Error on all ranks. @collective
RunSummary run(const CatalogConfig& config, const RunOptions& options, const comm::Communicator& comm);

}  // namespace bliss::inference
