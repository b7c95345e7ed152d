#include "bliss/comm/agree.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/training/run.hpp"
#include "command.hpp"

#include <fmt/format.h>

namespace bliss::apps {

Command add_train(CLI::App& app) {
    struct Options {
        std::string config;
        training::RunOptions run;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("train", "prior -> simulated images -> trained encoders -> model file");
    parser->add_option("config", options->config, "training configuration (TOML)")->required();
    parser
        ->add_option("-o,--output", options->run.output,
                     "folder of model.safetensors, galaxies.safetensors, metrics.jsonl and the checkpoints")
        ->default_val("out/train");
    parser->add_flag("--fresh", options->run.fresh, "start over: checkpoints, model and galaxies in the output folder are removed");
    parser->footer(
        "Resumes by default, with the same bytes at the end. SIGUSR1 or SIGTERM: a checkpoint, then exit status 4. Ranks share the global "
        "batch: mpirun -n 4 bliss-mpi train CONFIG.");
    return {parser,
            [options](const Common& common, const comm::Communicator& comm) {
                stop_on_signals();
                const auto config = read_config<training::TrainingConfig>(options->config, common, comm);
                comm::agree_on(comm, [&] { training::check_training(config, comm.size()); });
                const auto compute = start_compute(common, comm);
                options->run.dry_run = common.dry_run;
                options->run.config_folder = std::filesystem::absolute(options->config).parent_path();
                const training::RunSummary summary = training::run(config, options->run, comm);
                if (summary.steps_left == 0) return k_exit_done;
                if (comm.rank() == 0) {
                    fmt::print("stopped at step {} of {}; the same command {}\n", summary.steps_done,
                               summary.steps_done + summary.steps_left, summary.steps_done > 0 ? "goes on from there" : "begins anew");
                }
                return k_exit_stopped;
            },
            true, true};
}

}  // namespace bliss::apps
