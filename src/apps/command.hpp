#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/comm/communicator.hpp"
#include "bliss/core/config.hpp"
#include "bliss/core/log.hpp"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace bliss::apps {

/// Exit statuses of the program.
enum ExitStatus : int {
    k_exit_done = 0,         ///< all done
    k_exit_some_failed = 1,  ///< some fields failed; the others are in the catalogue
    k_exit_usage = 2,        ///< usage or configuration
    k_exit_fatal = 3,        ///< anything else
    k_exit_stopped = 4,      ///< asked to stop before all was done; run again to go on
};

/// What every subcommand has.
struct Common {
    int threads = 0;          ///< 0: OMP_NUM_THREADS, or its share of the node's cores
    bool quiet = false;
    bool debug = false;
    bool dry_run = false;
    std::vector<std::string> assignments;   ///< --set section.key=value
};

/// A subcommand: adds its options to the parser and gives what to run.
using Action = std::function<int(const Common&, const comm::Communicator&)>;
struct Command {
    CLI::App* parser = nullptr;
    Action run;
    bool reads_config = false;   ///< takes --set
    bool can_plan = false;       ///< takes --dry-run
};

Command add_train(CLI::App& app);
Command add_simulate(CLI::App& app);
Command add_catalog(CLI::App& app);
Command add_evaluate(CLI::App& app);
Command add_export(CLI::App& app);
Command add_render(CLI::App& app);
Command add_info(CLI::App& app);

/// Reads a configuration file with the `--set` assignments applied. @throws ConfigError on all ranks. @collective
template <class Settings>
Settings read_config(const std::string& path, const Common& common, const comm::Communicator& comm) {
    Settings settings;
    comm::agree_on(comm, [&] {
        ConfigDocument document = ConfigDocument::from_file(path);
        for (const std::string& assignment : common.assignments) document.set(assignment);
        document.read(settings);
    });
    return settings;
}

/// Starts Kokkos and LibTorch with the threads of this rank. Kept alive by the caller. @collective
std::shared_ptr<void> start_compute(const Common& common, const comm::Communicator& comm);

/// The p_source from which a source was in the mode catalogue when the catalogue was made. @throws ConfigError.
[[nodiscard]] double threshold_of(const catalog::Catalog& catalog);

/// Whether a file is HDF5, a catalogue; else it may be a model. @throws DataError when it cannot be read.
[[nodiscard]] bool is_hdf5(const std::string& path);

/// Versions of this program and of the libraries it runs with, one a line.
std::string library_versions();

}  // namespace bliss::apps
