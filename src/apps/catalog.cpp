#include "bliss/core/interrupt.hpp"
#include "bliss/inference/run.hpp"
#include "command.hpp"

#include <fmt/format.h>

namespace bliss::apps {

Command add_catalog(CLI::App& app) {
    struct Options {
        std::string config;
        std::string output;
        std::string threshold, floor, samples;
        bool reconstruct = false;
        bool fresh = false;
        std::int64_t most_failures = inference::RunOptions{}.most_failures;
        std::int64_t lock_patience_s = inference::RunOptions{}.lock_patience.count();
        std::vector<std::string> fields;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("catalog", "images -> catalog.h5");
    parser->add_option("config", options->config, "catalogue configuration (TOML)")->required();
    parser->add_option("-o,--output", options->output, "folder of catalog.h5 and run-report.json")->default_val("out/catalog");
    parser->add_option("--threshold", options->threshold,
                       "p_source from which a source is in the mode catalogue (default: the configuration's)");
    parser->add_option("--floor", options->floor, "p_source down to which candidates are written (default: the configuration's)");
    parser->add_option("--samples", options->samples,
                       "joint draws from each field's posterior, to /samples (default: the configuration's)");
    parser->add_flag("--reconstruct", options->reconstruct,
                     "with --samples: also write each field's posterior mean image and residual, FITS and a picture, to reconstruction/");
    parser->add_option("--field", options->fields, "only these fields (RUN-CAMCOL-FIELD; generic images are 0-0-0, 0-0-1, ...)");
    parser->add_flag("--fresh", options->fresh, "start over: remove what an earlier, unfinished run kept in OUTPUT/journal");
    parser
        ->add_option("--most-failures", options->most_failures,
                     "end the run when so many fields in a row have failed on a rank, which may be the machine's fault; 0: never")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    parser->add_option("--wait", options->lock_patience_s, "seconds to wait where another run is at work in the output folder")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    parser->footer("Ranks share the fields: srun bliss-mpi catalog CONFIG, or mpirun -n 4 bliss-mpi catalog CONFIG.");
    return {parser,
            [options](const Common& common, const comm::Communicator& comm) {
                stop_on_signals();
                Common with_options = common;
                if (!options->threshold.empty()) with_options.assignments.push_back("threshold=" + options->threshold);
                if (!options->floor.empty()) with_options.assignments.push_back("floor=" + options->floor);
                if (!options->samples.empty()) with_options.assignments.push_back("samples=" + options->samples);
                if (options->reconstruct) with_options.assignments.push_back("reconstruct=true");
                auto config = read_config<inference::CatalogConfig>(options->config, with_options, comm);
                if (!options->fields.empty()) {
                    config.survey.fields = options->fields;
                    config.survey.list.clear();
                }
                const auto compute = start_compute(common, comm);
                const auto folder = std::filesystem::absolute(options->config).parent_path();
                const auto summary = inference::run(config,
                                                    {options->output, folder, common.dry_run, options->fresh, options->most_failures,
                                                     std::chrono::seconds{options->lock_patience_s}},
                                                    comm);
                if (summary.left > 0 && !common.dry_run) {
                    if (comm.rank() == 0) {
                        fmt::print("stopped with {} of {} field(s) left; the same command goes on with them\n", summary.left,
                                   summary.fields);
                    }
                    return k_exit_stopped;
                }
                if (comm.rank() == 0 && !common.dry_run) {
                    const std::string again =
                        summary.seen_again > 0 ? fmt::format(" and {} seen again where fields overlap", summary.seen_again) : "";
                    fmt::print("{}: {} sources (p_source >= {}){}, {} candidates, {} field(s) of which {} failed\n",
                               (std::filesystem::path(options->output) / "catalog.h5").string(), summary.sources, config.threshold, again,
                               summary.candidates, summary.fields, summary.failed);
                }
                return summary.failed == 0 ? k_exit_done : k_exit_some_failed;
            },
            true, true};
}

}  // namespace bliss::apps
