#include "bliss/comm/environment.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/version.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>

namespace {

using namespace bliss;

/// Tells a job script that asks for it (jobs/step.sh) that the program has begun: from now on it says itself why it ends.
void tell_begun() {
    if (const char* const file = std::getenv("BLISS_BEGUN_FILE"); file != nullptr) std::ofstream{file};
}

/// Runs a command. An error that all ranks agreed on is told once, by rank 0, and all end in order; one that a rank met alone
/// is told by that rank and ends the others, who may be waiting for it.
int run(const apps::Command& command, const apps::Common& common) {
    const comm::Communicator world = comm::Communicator::world();
    world.barrier();  // all ranks have started MPI
    if (world.rank() == 0) tell_begun();
    const auto verbosity = common.quiet ? Verbosity::quiet : common.debug ? Verbosity::debug : Verbosity::normal;
    start_log(world.rank(), world.size(), verbosity);
    const auto fail = [&](const std::exception& error, int status) {
        const auto* const ours = dynamic_cast<const Error*>(&error);
        const bool alone = world.size() > 1 && (ours == nullptr || ours->ranks() != world.size());
        if (alone || world.rank() == 0) {
            fmt::print(stderr, "bliss-mpi: error{}: {}\n", alone ? fmt::format(" (rank {})", world.rank()) : "", error.what());
            std::fflush(nullptr);
        }
        if (alone) comm::abort_all_ranks(status);
        return status;
    };
    try {
        const int status = command.run(common, world);
        std::fflush(nullptr);  // before another rank's exit status ends this one
        return status;
    } catch (const ConfigError& error) {
        return fail(error, apps::k_exit_usage);
    } catch (const std::exception& error) {
        return fail(error, apps::k_exit_fatal);
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGXFSZ, SIG_IGN);  // a file that outgrows the process's limit is an error of write, not the end
    CLI::App app{"bliss-mpi: survey images to probabilistic catalogues of stars and galaxies"};
    app.require_subcommand(1);
    app.set_version_flag("--version", apps::library_versions());
    apps::Common common;
    const apps::Command commands[] = {
        apps::add_catalog(app), apps::add_train(app),  apps::add_simulate(app), apps::add_evaluate(app),
        apps::add_export(app),  apps::add_render(app), apps::add_info(app),
    };
    for (const apps::Command& command : commands) {
        command.parser->add_option("--threads", common.threads,
                                   "threads of this rank (default: OMP_NUM_THREADS, or its share of the cores)")
            ->check(CLI::PositiveNumber);
        command.parser->add_flag("--quiet", common.quiet, "only warnings and errors");
        command.parser->add_flag("--debug", common.debug, "more messages than usual");
        if (command.can_plan) command.parser->add_flag("--dry-run", common.dry_run, "prepare everything, print the plan, stop");
        if (!command.reads_config) continue;
        command.parser
            ->add_option("--set", common.assignments,
                         "override a configuration value: key=value or section.key=value; relative paths start from CONFIG's folder")
            ->allow_extra_args(false);
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        tell_begun();
        return app.exit(error) == 0 ? apps::k_exit_done : apps::k_exit_usage;
    }
    for (const apps::Command& command : commands) {
        if (!command.parser->parsed()) continue;
        try {
            const comm::Environment environment;
            return run(command, common);
        } catch (const std::exception& error) {
            fmt::print(stderr, "bliss-mpi: error: {}\n", error.what());
            return apps::k_exit_fatal;
        }
    }
    return apps::k_exit_usage;
}
