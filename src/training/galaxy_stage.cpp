#include "galaxy_stage.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/version.hpp"
#include "bliss/encoder/tensor_file.hpp"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <chrono>

namespace bliss::training {
namespace {

namespace fs = std::filesystem;

/// Everything that decides the decoder's weights.
struct Settings {
    std::int64_t seed;
    GalaxyTrainingConfig galaxies;
    simulator::SimulatorConfig simulator;
};

void describe(ConfigVisitor& visitor, Settings& settings) {
    visitor.field("seed", settings.seed, "of weights and stamps");
    visitor.section("galaxies", settings.galaxies);
    visitor.section("simulator", settings.simulator);
}

nlohmann::json to_json(const GalaxyDistances& d) {
    return {{"ln_flux", d.ln_flux},
            {"ln_half_light_radius", d.ln_half_light_radius},
            {"ellipticity", d.ellipticity},
            {"concentration", d.concentration}};
}

nlohmann::json to_json(const GalaxyReport& report) {
    return {{"elbo", report.elbo},
            {"kl", report.kl},
            {"misfit", report.misfit},
            {"share_of_light", report.share_of_light},
            {"ks_distances", to_json(report.drawn)},
            {"ks_distances_without_couplings", to_json(report.drawn_without_couplings)}};
}

/// @return nothing where the program was asked to stop
std::optional<encoder::Galaxies> train(const TrainingConfig& config, const fs::path& path, const std::string& settings,
                                       const comm::Communicator& comm) {
    const auto start = std::chrono::steady_clock::now();
    const std::optional<GalaxyVae> vae = train_galaxies(config.galaxies, config.simulator, static_cast<std::uint64_t>(config.seed), comm);
    if (!vae) return {};
    encoder::Galaxies galaxies{config.galaxies.vae, vae->decoder};
    const std::string report = to_json(vae->report).dump();
    spdlog::info("galaxies: trained in {:.0f} s: {}", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                 report);
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0 || path.empty()) return;
        encoder::save_galaxies(path, galaxies, config.simulator.prior,
                               {{"settings", settings}, {"report", report}, {"program_version", k_program_version}});
    });
    // Every rank goes on with rank 0's weights: processors round differently.
    for (auto& item : galaxies.decoder->named_parameters()) {
        at::Tensor& weights = item.value();
        std::vector<float> values(weights.data_ptr<float>(), weights.data_ptr<float>() + weights.numel());
        comm.broadcast(values);
        std::copy(values.begin(), values.end(), weights.data_ptr<float>());
    }
    return galaxies;
}

}  // namespace

std::optional<encoder::Galaxies> named_galaxies(const TrainingConfig& config, const RunOptions& options, const comm::Communicator& comm) {
    std::optional<encoder::Galaxies> galaxies;
    if (config.simulator.prior.galaxies != simulator::GalaxyModel::learnt || config.galaxies.model.empty()) return galaxies;
    comm::agree_on(comm,
                   [&] { galaxies = encoder::load_galaxies_for(config.simulator.prior, options.config_folder / config.galaxies.model); });
    return galaxies;
}

std::optional<encoder::Galaxies> galaxy_stage(const TrainingConfig& config, const RunOptions& options,
                                              std::optional<encoder::Galaxies> named, const comm::Communicator& comm) {
    if (named || config.simulator.prior.galaxies != simulator::GalaxyModel::learnt) return named;
    const std::string settings = to_toml(Settings{config.seed, config.galaxies, config.simulator}, false);
    if (options.dry_run) {
        TrainingConfig brief = config;
        brief.galaxies.steps = brief.galaxies.coupling_steps = 1;
        return train(brief, {}, settings, comm);
    }
    const fs::path path = options.output / k_galaxies_file;
    std::int64_t found = 0;
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0 || options.fresh || !fs::exists(path)) return;
        const auto metadata = encoder::read_tensor_file(path).metadata;
        const auto of_file = metadata.find("settings");
        found = of_file != metadata.end() && of_file->second == settings ? 1 : 0;
    });
    comm.broadcast(found);
    if (!found) return train(config, path, settings, comm);
    std::optional<encoder::Galaxies> galaxies;
    comm::agree_on(comm, [&] { galaxies = encoder::load_galaxies(path); });
    spdlog::info("galaxies: {} is of these settings, taken as it is", path.string());
    return galaxies;
}

}  // namespace bliss::training
