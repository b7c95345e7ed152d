#include "bliss/comm/agree.hpp"
#include "bliss/training/run.hpp"
#include "command.hpp"

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
                     "folder of model.safetensors, galaxies.safetensors, metrics.jsonl and the checkpoint")
        ->default_val("out/train");
    parser->add_flag("--fresh", options->run.fresh, "start over: checkpoint, model and galaxies in the output folder are removed");
    parser->footer("Resumes by default. Ranks share the global batch: mpirun -n 4 bliss-mpi train CONFIG.");
    return {parser, [options](const Common& common, const comm::Communicator& comm) {
                const auto config = read_config<training::TrainingConfig>(options->config, common, comm);
                comm::agree_on(comm, [&] { training::check_training(config, comm.size()); });
                const auto compute = start_compute(common, comm);
                options->run.dry_run = common.dry_run;
                options->run.config_folder = std::filesystem::absolute(options->config).parent_path();
                training::run(config, options->run, comm);
                return k_exit_done;
            },
            true, true};
}

}  // namespace bliss::apps
