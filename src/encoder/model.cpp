#include "bliss/encoder/model.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace bliss::encoder {
namespace {

using nlohmann::json;

constexpr const char* k_format = "bliss-model";

json to_json(const ModelCard& card) {
    return {{"sources_per_tile", card.sources_per_tile},
            {"label_flux_min_e", card.label_flux_min_e},
            {"star_fraction", card.star_fraction},
            {"psf_fwhm_px", {card.psf_fwhm_px_low, card.psf_fwhm_px_high}},
            {"background_e", {card.background_e_low, card.background_e_high}},
            {"sources_per_tile_range", {card.sources_per_tile_low, card.sources_per_tile_high}},
            {"seed", card.seed},
            {"steps", card.steps},
            {"tiles", card.tiles},
            {"training_config", card.training_config},
            {"program_version", card.program_version},
            {"metrics", card.metrics}};
}

ModelCard card_from_json(const json& from) {
    ModelCard card;
    from.at("sources_per_tile").get_to(card.sources_per_tile);
    from.at("label_flux_min_e").get_to(card.label_flux_min_e);
    from.at("star_fraction").get_to(card.star_fraction);
    from.at("psf_fwhm_px").at(0).get_to(card.psf_fwhm_px_low);
    from.at("psf_fwhm_px").at(1).get_to(card.psf_fwhm_px_high);
    from.at("background_e").at(0).get_to(card.background_e_low);
    from.at("background_e").at(1).get_to(card.background_e_high);
    from.at("sources_per_tile_range").at(0).get_to(card.sources_per_tile_low);
    from.at("sources_per_tile_range").at(1).get_to(card.sources_per_tile_high);
    from.at("seed").get_to(card.seed);
    from.at("steps").get_to(card.steps);
    from.at("tiles").get_to(card.tiles);
    from.at("training_config").get_to(card.training_config);
    from.at("program_version").get_to(card.program_version);
    from.at("metrics").get_to(card.metrics);
    return card;
}

constexpr const char* k_galaxies_format = "bliss-galaxies";
constexpr const char* k_galaxies_key = "galaxies";

std::map<std::string, at::Tensor> galaxy_weights(const Galaxies& galaxies) {
    std::map<std::string, at::Tensor> weights;
    for (const auto& item : galaxies.decoder->named_parameters()) weights.emplace("galaxies." + item.key(), item.value());
    return weights;
}

/// Copies tensors into those of the same names.
void assign(const std::map<std::string, at::Tensor>& targets, const std::map<std::string, at::Tensor>& weights, const std::string& source) {
    const torch::NoGradGuard no_grad;
    for (const auto& [name, target] : targets) {
        const auto found = weights.find(name);
        if (found == weights.end())
            throw DataError(fmt::format("{}: has no weights '{}': its parts do not fit each other; train it again", source, name));
        if (found->second.sizes() != target.sizes()) {
            throw DataError(fmt::format(
                "{}: weights '{}' have another shape than its configuration says: its parts do not fit each other; train it again", source,
                name));
        }
        at::Tensor{target}.copy_(found->second);
    }
}

std::string metadata(const TensorFile& file, const std::string& key, const std::filesystem::path& path) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end())
        throw DataError(fmt::format("{}: not a bliss model (it has no '{}'); give a file that bliss-mpi train wrote", path.string(), key));
    return found->second;
}

/// @throws DataError
void check_finite(const std::map<std::string, at::Tensor>& weights, const std::string& source) {
    for (const auto& [name, tensor] : weights) {
        if (tensor.isfinite().all().item<bool>()) continue;
        throw DataError(fmt::format("{}: weights '{}' are not finite; train it again", source, name));
    }
}

/// Settings that a file holds as TOML under a key. @throws DataError
template <class Settings>
Settings read_part(const TensorFile& file, const std::string& key, const std::filesystem::path& path) {
    Settings settings;
    try {
        ConfigDocument::from_text(metadata(file, key, path), key).read(settings);
    } catch (const ConfigError& error) {
        throw DataError(fmt::format("{}: its settings cannot be read ({}); train it again", path.string(), error.what()));
    }
    return settings;
}

Galaxies galaxies_of(const TensorFile& file, const std::filesystem::path& path) {
    Galaxies galaxies;
    galaxies.config = read_part<GalaxyVaeConfig>(file, k_galaxies_key, path);
    galaxies.decoder = GalaxyDecoderNet{galaxies.config};
    const std::map<std::string, at::Tensor> weights = galaxy_weights(galaxies);
    assign(weights, file.tensors, path.string());
    check_finite(weights, path.string());
    return galaxies;
}

/// A file that holds a galaxy decoder. @throws DataError
TensorFile read_galaxies(const std::filesystem::path& path) {
    TensorFile file = read_tensor_file(path);
    const std::string format = metadata(file, "format", path);
    if (format != k_format && format != k_galaxies_format) {
        throw DataError(
            fmt::format("{}: neither a model nor a galaxy decoder of bliss; give a file that bliss-mpi train wrote", path.string()));
    }
    if (!file.metadata.contains(k_galaxies_key)) {
        throw DataError(fmt::format("{}: the model holds no galaxy decoder; it was trained on bulge + disk galaxies", path.string()));
    }
    return file;
}

/// @throws DataError where the parts of a model do not fit each other, or hold numbers that nothing can be read with.
void check_parts(const Model& model, const std::string& source) {
    const auto require = [&](bool fits, std::string_view what) {
        if (!fits) throw DataError(fmt::format("{}: {}; train it again", source, what));
    };
    try {
        simulator::check_prior(model.prior);
    } catch (const ConfigError& error) {
        require(false, fmt::format("its prior is none ({})", error.what()));
    }
    require(model.prior.galaxies != simulator::GalaxyModel::learnt || model.galaxies,
            "its prior is of learnt galaxies, but it holds no decoder");
    require(model.config.flux_low_e <= model.prior.label_flux_min_e,
            "its posterior's least flux is above the faintest source of its prior");
    const double low = model.card.sources_per_tile_low, mean = model.card.sources_per_tile, high = model.card.sources_per_tile_high;
    require(low > 0 && low <= mean && mean <= high && std::isfinite(high), "its card gives no range of source rates, or no mean in it");
    check_finite(named_weights(model), source);
}

}  // namespace

Model::Model(const EncoderConfig& settings, std::optional<Galaxies> learnt)
    : config{settings}, detection{settings}, galaxies{std::move(learnt)}, sources{settings, galaxies ? galaxies->config.latents : 0} {}

void Model::use_bfloat16() {
    detection->use_bfloat16();
    sources->use_bfloat16();
}

void Model::use(c10::Device device) {
    detection->to(device);
    sources->to(device);
}

std::map<std::string, at::Tensor> named_weights(const Model& model) {
    std::map<std::string, at::Tensor> weights;
    const auto add = [&](const std::string& name, const torch::nn::Module& network) {
        for (const auto& item : network.named_parameters()) weights.emplace(name + "." + item.key(), item.value());
    };
    add("detection", *model.detection);
    add("sources", *model.sources);
    if (model.galaxies) weights.merge(galaxy_weights(*model.galaxies));
    return weights;
}

void assign_weights(const Model& model, const std::map<std::string, at::Tensor>& weights, const std::string& source) {
    assign(named_weights(model), weights, source);
}

void save_galaxies(const std::filesystem::path& path, const Galaxies& galaxies, const simulator::PriorConfig& prior,
                   const std::map<std::string, std::string>& about) {
    TensorFile file{galaxy_weights(galaxies), about};
    file.metadata.insert(
        {{"format", k_galaxies_format}, {k_galaxies_key, to_toml(galaxies.config, false)}, {"prior", to_toml(prior, false)}});
    write_tensor_file(path, file);
}

Galaxies load_galaxies(const std::filesystem::path& path) { return galaxies_of(read_galaxies(path), path); }

Galaxies load_galaxies_for(const simulator::PriorConfig& prior, const std::filesystem::path& path) {
    const TensorFile file = read_galaxies(path);
    const auto learnt = read_part<simulator::PriorConfig>(file, "prior", path);
    const bool same_law = learnt.size_law == prior.size_law &&
                          (prior.size_law == simulator::SizeLaw::gamma ? learnt.bulge_to_disk_size == prior.bulge_to_disk_size
                                                                       : learnt.size_ln_scatter == prior.size_ln_scatter);
    if (!same_law) {
        throw ConfigError(
            fmt::format("simulator.prior: size_law, size_ln_scatter or bulge_to_disk_size differs from what the galaxies of {} were learnt "
                        "from; give the same, or train a decoder",
                        path.string()));
    }
    return galaxies_of(file, path);
}

void save_model(const std::filesystem::path& path, const Model& model) {
    TensorFile file;
    file.tensors = named_weights(model);
    file.metadata = {{"format", k_format},
                     {"version", std::to_string(k_model_version)},
                     {"encoder", to_toml(model.config, false)},
                     {"prior", to_toml(model.prior, false)},
                     {"card", to_json(model.card).dump()}};
    if (model.galaxies) file.metadata.emplace(k_galaxies_key, to_toml(model.galaxies->config, false));
    write_tensor_file(path, file);
}

Model load_model(const std::filesystem::path& path) {
    const TensorFile file = read_tensor_file(path);
    if (metadata(file, "format", path) != k_format)
        throw DataError(fmt::format("{}: not a bliss model; give a model.safetensors that bliss-mpi train wrote", path.string()));
    const std::string version = metadata(file, "version", path);
    if (version != std::to_string(k_model_version)) {
        throw DataError(
            fmt::format("{}: model version {}, this program reads version {}; train it again or use the program it "
                        "came with",
                        path.string(), version, k_model_version));
    }
    const auto config = read_part<EncoderConfig>(file, "encoder", path);
    try {
        check_encoder(config);
    } catch (const ConfigError& error) {
        throw DataError(fmt::format("{}: its encoder is none ({}); train it again", path.string(), error.what()));
    }
    std::optional<Galaxies> galaxies;
    if (file.metadata.contains(k_galaxies_key)) galaxies = galaxies_of(file, path);
    Model model{config, std::move(galaxies)};
    model.prior = read_part<simulator::PriorConfig>(file, "prior", path);
    try {
        model.card = card_from_json(json::parse(metadata(file, "card", path)));
    } catch (const json::exception& error) {
        throw DataError(fmt::format("{}: its model card cannot be read ({})", path.string(), error.what()));
    }
    assign_weights(model, file.tensors, path.string());
    check_parts(model, path.string());
    return model;
}

}  // namespace bliss::encoder
