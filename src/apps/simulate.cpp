#include "bliss/core/error.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/simulator/frames.hpp"
#include "command.hpp"

#include <fmt/format.h>

namespace bliss::apps {

namespace {

/// What galaxies are drawn from; nothing for those of bulge and disk. @throws ConfigError, DataError
std::optional<simulator::GalaxyDecoder> load_decoder(const simulator::FramesConfig& config, const std::filesystem::path& folder) {
    if (config.simulator.prior.galaxies != simulator::GalaxyModel::learnt) {
        if (config.galaxy_model.empty()) return {};
        throw ConfigError("galaxy_model is given, but simulator.prior.galaxies is \"bulge_disk\": set it to \"learnt\"");
    }
    if (config.galaxy_model.empty()) {
        throw ConfigError("simulator.prior.galaxies is \"learnt\": name the file of their decoder with galaxy_model");
    }
    return encoder::load_galaxies_for(config.simulator.prior, folder / config.galaxy_model).decoder->exported();
}

}  // namespace

Command add_simulate(CLI::App& app) {
    struct Options {
        std::string config;
        std::string output;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("simulate", "prior -> frames as FITS with their truth");
    parser->add_option("config", options->config, "simulation configuration (TOML)")->required();
    parser->add_option("-o,--output", options->output, "folder of the frames")->default_val("out/simulated");
    return {parser,
            [options](const Common& common, const comm::Communicator& comm) {
                const auto config = read_config<simulator::FramesConfig>(options->config, common, comm);
                const auto compute = start_compute(common, comm);
                std::optional<simulator::GalaxyDecoder> decoder;
                comm::agree_on(comm, [&] {
                    simulator::check_simulator(config.simulator);
                    decoder = load_decoder(config, std::filesystem::absolute(options->config).parent_path());
                });
                if (common.dry_run) {
                    spdlog::info("would write {} frames of {} x {} pixels to {}", frame_count(config), config.height_px, config.width_px,
                                 options->output);
                    return k_exit_done;
                }
                simulator::write_frames(config, decoder ? &*decoder : nullptr, options->output, comm);
                if (comm.rank() == 0) fmt::print("{}: {} frames with truth\n", options->output, frame_count(config));
                return k_exit_done;
            },
            true, true};
}

}  // namespace bliss::apps
