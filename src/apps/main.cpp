#include "bliss/comm/environment.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/version.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace {

using namespace bliss;

/// Runs a command; an error ends all ranks with one line from the rank that found it first.
int run(const apps::Command& command, const apps::Common& common) {
    const comm::Environment environment;
    const comm::Communicator world = comm::Communicator::world();
    const auto verbosity = common.quiet ? Verbosity::quiet : common.debug ? Verbosity::debug : Verbosity::normal;
    start_log(world.rank(), world.size(), verbosity);
    const auto fail = [&](const char* what, int status) {
        fmt::print(stderr, "bliss-mpi: error{}: {}\n", world.size() > 1 ? fmt::format(" (rank {})", world.rank()) : "", what);
        std::fflush(nullptr);
        if (world.size() > 1) comm::abort_all_ranks(status);
        return status;
    };
    try {
        return command.run(common, world);
    } catch (const ConfigError& error) {
        return fail(error.what(), apps::k_exit_usage);
    } catch (const std::exception& error) {
        return fail(error.what(), apps::k_exit_fatal);
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"bliss-mpi: survey images to probabilistic catalogues of stars and galaxies"};
    app.require_subcommand(1);
    app.set_version_flag("--version", apps::library_versions());
    apps::Common common;
    const apps::Command commands[] = {
        apps::add_catalog(app), apps::add_train(app),  apps::add_simulate(app), apps::add_evaluate(app),
        apps::add_export(app),  apps::add_render(app), apps::add_info(app),
    };
    for (const apps::Command& command : commands) {
        command.parser->add_option("--threads", common.threads, "threads of this rank (default: OMP_NUM_THREADS, or its cores)");
        command.parser->add_flag("--quiet", common.quiet, "only warnings and errors");
        command.parser->add_flag("--debug", common.debug, "everything");
        command.parser->add_flag("--dry-run", common.dry_run, "prepare everything, print the plan, stop");
        command.parser->add_option("--set", common.assignments, "override a configuration value: section.key=value")
            ->allow_extra_args(false);
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? apps::k_exit_done : apps::k_exit_usage;
    }
    for (const apps::Command& command : commands) {
        if (command.parser->parsed()) return run(command, common);
    }
    return apps::k_exit_usage;
}
