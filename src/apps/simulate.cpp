#include "bliss/core/error.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/simulator/frames.hpp"
#include "bliss/training/config.hpp"
#include "bliss/training/run.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

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

/// Images that one step of a training saw.
struct Replay {
    std::int64_t step = -1;  ///< of the training; -1: no replay
    std::string images;      ///< FIRST, or FIRST-LAST; empty: all of the step
};

/// The numbers in "FIRST" or "FIRST-LAST". @throws ConfigError
std::pair<std::int64_t, std::int64_t> first_and_last(const std::string& text, std::int64_t count) {
    if (text.empty()) return {0, count - 1};
    std::int64_t first = -1, last = -1;
    const char* const end = text.data() + text.size();
    std::from_chars_result read = std::from_chars(text.data(), end, first);
    last = first;
    if (read.ec == std::errc{} && read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
    if (read.ec != std::errc{} || read.ptr != end || first < 0 || last < first || last >= count) {
        throw ConfigError(fmt::format("--images {}: give FIRST or FIRST-LAST, numbers from 0 to {}", text, count - 1));
    }
    return {first, last};
}

/// Writes what the training whose configuration is given saw in one step. @collective
ExitStatus replay(const Replay& asked, const std::string& path, const std::string& output, const Common& common,
                  const comm::Communicator& comm) {
    const auto training = read_config<training::TrainingConfig>(path, common, comm);
    simulator::FramesConfig config;
    std::pair<std::int64_t, std::int64_t> images;
    std::optional<simulator::GalaxyDecoder> decoder;
    const auto compute = start_compute(common, comm);
    comm::agree_on(comm, [&] {
        training::check_training(training, 1);
        if (asked.step >= training.steps)
            throw ConfigError(fmt::format("--replay {}: the training of {} has steps 0 to {}", asked.step, path, training.steps - 1));
        images = first_and_last(asked.images, training.images_per_step);
        config.seed = training.seed;
        config.frames = images.second - images.first + 1;
        config.height_px = config.width_px = training::image_side_px(training);
        config.simulator = training.simulator;
        // The training's own galaxies stand beside its configuration.
        if (training.simulator.prior.galaxies == simulator::GalaxyModel::learnt)
            config.galaxy_model = training.galaxies.model.empty() ? training::k_galaxies_file : training.galaxies.model;
        decoder = load_decoder(config, std::filesystem::absolute(path).parent_path());
    });
    const simulator::SampleRange first{static_cast<std::uint64_t>(training.seed), static_cast<std::uint32_t>(asked.step),
                                       static_cast<std::uint32_t>(images.first)};
    if (!common.dry_run) simulator::write_samples(config, decoder ? &*decoder : nullptr, first, output, comm);
    if (comm.rank() == 0) {
        fmt::print("{}: {} {} images of {} x {} pixels with truth, those of numbers {} to {} in step {}\n", output,
                   common.dry_run ? "would hold" : "holds", config.frames, config.height_px, config.width_px, images.first, images.second,
                   asked.step);
    }
    return k_exit_done;
}

}  // namespace

Command add_simulate(CLI::App& app) {
    struct Options {
        std::string config;
        std::string output;
        Replay replay;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("simulate", "prior -> frames as FITS with their truth");
    parser->add_option("config", options->config, "simulation configuration (TOML)")->required();
    parser->add_option("-o,--output", options->output, "folder of the frames")->default_val("out/simulated");
    parser->add_option("--replay", options->replay.step, "instead: images that this step of a training saw; CONFIG is that training's")
            ->check(CLI::NonNegativeNumber);
    parser->add_option("--images", options->replay.images, "of that step: FIRST or FIRST-LAST (default: all)");
    return {parser,
            [options](const Common& common, const comm::Communicator& comm) {
                if (options->replay.step >= 0) return replay(options->replay, options->config, options->output, common, comm);
                comm::agree_on(comm, [&] {
                    if (!options->replay.images.empty()) throw ConfigError("--images is of a step's images: name the step with --replay");
                });
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
