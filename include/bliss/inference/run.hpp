#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/inference/config.hpp"

#include <cstdint>
#include <filesystem>

namespace bliss::inference {

struct RunOptions {
    std::filesystem::path output;         ///< folder of catalog.h5 and run-report.json
    std::filesystem::path config_folder;  ///< what relative paths of the configuration start from
    bool dry_run = false;                 ///< read model and configuration, print the plan, write nothing
};

struct RunSummary {
    std::int64_t fields = 0;
    std::int64_t failed = 0;
    std::int64_t candidates = 0;
    std::int64_t sources = 0;   ///< in the mode catalogue
};

/// Catalogues all fields of a survey: ranks take fields in turn, and write one catalog.h5 together, whose bytes do not depend
/// on their number. A field that cannot be used is recorded with its reason and the run goes on.
/// @throws ConfigError (also where the model is of another band than an SDSS survey), DataError (model), IoError, H5Error on all
/// ranks. @collective
RunSummary run(const CatalogConfig& config, const RunOptions& options, const comm::Communicator& comm);

}  // namespace bliss::inference
