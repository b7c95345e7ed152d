#include "bliss/catalog/reader.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/encoder/model.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <utility>

namespace bliss::apps {
namespace {

/// What of a field lies outside what its model was trained on.
void print_warnings(const catalog::FieldRow& f) {
    constexpr std::pair<std::uint32_t, const char*> warnings[] = {
        {catalog::k_prior_rate_outside, "the prior's source rate is outside the model's training range"},
        {catalog::k_prior_far, "the prior weighs some sources over ten times more or less than the training did"},
        {catalog::k_density_outside, "the density of sources found is outside the model's training range; use a model for such fields"},
    };
    for (const auto& [bit, text] : warnings) {
        if ((f.prior_flags & bit) != 0) fmt::print("  warning: field {}: {}\n", to_string(FieldId{f.run, f.camcol, f.field}), text);
    }
}

void print_catalog(const std::string& path) {
    const catalog::Catalog catalog = catalog::read_catalog(path);
    std::int64_t in_mode = 0;
    for (const auto& row : catalog.sources) in_mode += (row.flags & catalog::k_flag_mode) != 0 ? 1 : 0;
    fmt::print("{}: catalogue, schema {}, made by bliss-mpi {}\n", path, catalog::k_schema_version, catalog.program_version);
    fmt::print("  {} field(s), {} candidates, {} sources in the mode catalogue, {} rows of joint draws\n", catalog.fields.size(),
               catalog.sources.size(), in_mode, catalog.samples.size());
    fmt::print("  model SHA256 {}\n  configuration SHA256 {}\n", catalog.model_sha256, catalog.configuration_sha256);
    fmt::print("\n{:>16} {:>4} {:>11} {:>10} {:>9} {:>7} {:>9} {:>6}  {}\n", "field", "band", "pixels", "candidates", "expected", "FWHM",
               "backgr.", "valid", "status");
    for (const auto& f : catalog.fields) {
        fmt::print("{:>16} {:>4} {:>11} {:>10} {:>9.1f} {:>4.2f} px {:>7.1f} e {:>6.3f}  {}\n",
                   to_string(FieldId{f.run, f.camcol, f.field}), catalog::text_of(f.band),
                   fmt::format("{}x{}", std::int64_t{f.height_px}, std::int64_t{f.width_px}), std::int64_t{f.source_count},
                   double{f.expected_sources}, double{f.psf_fwhm_px}, double{f.background_e}, double{f.valid_share},
                   f.status == 0 ? "done" : fmt::format("failed: {}", catalog::text_of(f.reason)));
    }
    for (const auto& f : catalog.fields) print_warnings(f);
    fmt::print("\n{}\n", catalog.configuration);
}

void print_tensors(const std::string& path) {
    const encoder::TensorFile file = encoder::read_tensor_file(path);
    const auto format = file.metadata.find("format");
    if (format != file.metadata.end() && format->second == "bliss-checkpoint") {
        fmt::print("{}: training checkpoint at step {}\n\n{}\n", path, file.metadata.at("step"), file.metadata.at("configuration"));
        return;
    }
    if (format != file.metadata.end() && format->second == "bliss-galaxies") {
        const encoder::Galaxies galaxies = encoder::load_galaxies(path);
        const auto text = [&](const char* key) {
            const auto found = file.metadata.find(key);
            return found == file.metadata.end() ? std::string{} : found->second;
        };
        fmt::print("{}: galaxy decoder, {} latents, {} Gaussians, made by bliss-mpi {}\n", path, galaxies.config.latents,
                   galaxies.config.gaussians, text("program_version"));
        fmt::print("  on galaxies it had not seen: {}\n\n{}\n", text("report"), text("settings"));
        return;
    }
    const encoder::Model model = encoder::load_model(path);
    const encoder::ModelCard& card = model.card;
    std::int64_t weights = 0;
    for (const auto& [name, tensor] : file.tensors) weights += tensor.numel();
    fmt::print("{}: model, version {}, made by bliss-mpi {}\n", path, encoder::k_model_version, card.program_version);
    fmt::print("  bands {}, tiles of {} px, at most {} source(s) a tile, {} weights\n", fmt::join(model.config.bands, " "),
               model.config.tile_px, model.config.max_sources, weights);
    if (model.galaxies) {
        fmt::print("  learnt galaxies: {} latents, {} Gaussians\n", model.galaxies->config.latents, model.galaxies->config.gaussians);
    }
    fmt::print("  trained {} steps on {} simulated tiles, seed {}\n", card.steps, card.tiles, card.seed);
    fmt::print("  prior: {:.4g} sources a tile (from {:.4g} to {:.4g}) above {:.4g} electrons; {:.3g} of all simulated sources are stars\n",
               card.sources_per_tile, card.sources_per_tile_low, card.sources_per_tile_high, card.label_flux_min_e, card.star_fraction);
    fmt::print("  for a PSF FWHM of {:.2f} to {:.2f} px and a sky of {:.0f} to {:.0f} electrons\n", card.psf_fwhm_px_low,
               card.psf_fwhm_px_high, card.background_e_low, card.background_e_high);
    fmt::print("  last validation: {}\n\n{}\n", card.metrics, card.training_config);
}

}  // namespace

Command add_info(CLI::App& app) {
    auto path = std::make_shared<std::string>();
    CLI::App* parser = app.add_subcommand("info", "what a model, catalogue, checkpoint or galaxy decoder holds");
    parser->add_option("file", *path, "model.safetensors, catalog.h5, checkpoint.safetensors or galaxies.safetensors")->required();
    return {parser, [path](const Common&, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                if (is_hdf5(*path)) print_catalog(*path);
                else print_tensors(*path);
                return k_exit_done;
            }};
}

}  // namespace bliss::apps
