#include "bliss/catalog/reader.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/shard/journal.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

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

/// Of the fields of a large catalogue, so many and those that failed.
constexpr std::int64_t k_most_fields = 200;

void print_catalog(const std::string& path) {
    const catalog::Overview overview = catalog::read_overview(path);
    fmt::print("{}: catalogue, schema {}, made by bliss-mpi {}\n", path, catalog::k_schema_version, overview.program_version);
    fmt::print("  {} field(s), {} candidates, {} sources in the mode catalogue{}, {} rows of {} joint draws\n", overview.fields,
               overview.sources, overview.mode_primary,
               overview.mode > overview.mode_primary
                   ? fmt::format(" and {} seen again where fields overlap", overview.mode - overview.mode_primary)
                   : "",
               overview.samples, overview.draws);
    fmt::print("  model SHA256 {}\n  configuration SHA256 {}\n", overview.model_sha256, overview.configuration_sha256);
    fmt::print("\n{:>16} {:>4} {:>11} {:>10} {:>9} {:>7} {:>9} {:>6}  {}\n", "field", "band", "pixels", "candidates", "expected", "FWHM",
               "backgr.", "valid", "status");
    constexpr std::int64_t k_at_once = 4096;
    std::int64_t failed = 0, left_out = 0;
    for (std::int64_t first = 0; first < overview.fields; first += k_at_once) {
        const auto rows = catalog::read_field_rows(path, first, std::min(k_at_once, overview.fields - first));
        for (std::size_t k = 0; k < rows.size(); ++k) {
            const catalog::FieldRow& f = rows[k];
            failed += f.status != 0 ? 1 : 0;
            if (first + static_cast<std::int64_t>(k) >= k_most_fields && (f.status == 0 || failed > k_most_fields)) {
                ++left_out;
                continue;
            }
            fmt::print("{:>16} {:>4} {:>11} {:>10} {:>9.1f} {:>4.2f} px {:>7.1f} e {:>6.3f}  {}\n",
                       to_string(FieldId{f.run, f.camcol, f.field}), catalog::text_of(f.band),
                       fmt::format("{}x{}", std::int64_t{f.height_px}, std::int64_t{f.width_px}), std::int64_t{f.source_count},
                       double{f.expected_sources}, double{f.psf_fwhm_px}, double{f.background_e}, double{f.valid_share},
                       f.status == 0 ? "done" : fmt::format("failed: {}", catalog::text_of(f.reason)));
            print_warnings(f);
        }
    }
    if (left_out > 0) fmt::print("  and {} fields more; {} of all failed\n", left_out, failed);
    fmt::print("\n{}\n", overview.configuration);
}

/// @return fields that are done, by the last word on each
void print_journal(const std::filesystem::path& path, std::map<FieldId, std::int32_t>& status) {
    const shard::JournalContent content = shard::scan_journal(path);
    std::int64_t failed = 0, bytes = 0;
    for (const shard::JournalEntry& entry : content.entries) {
        failed += entry.status != 0 ? 1 : 0;
        for (const std::int64_t of_section : entry.bytes) bytes += of_section;
        status[entry.id] = entry.status;
    }
    fmt::print("{}: journal, {} field(s) of which {} failed, {:.1f} MB{}{}\n", path.string(), content.entries.size(), failed,
               1e-6 * static_cast<double>(bytes),
               content.torn_bytes > 0 ? fmt::format(", {} bytes of a field that was not finished", content.torn_bytes) : "",
               content.damaged_bytes > 0 ? fmt::format(", {} damaged bytes", content.damaged_bytes) : "");
}

void print_identity(const std::filesystem::path& journal) {
    std::istringstream lines{shard::scan_journal(journal).identity};
    for (std::string line; std::getline(lines, line);) fmt::print("  {}\n", line);
}

/// A run's output folder, or its folder of journals: what stands in the journals, taken together.
void print_folder(const std::filesystem::path& folder) {
    const auto journals = std::filesystem::is_directory(folder / "journal") ? folder / "journal" : folder;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator{journals}) {
        if (entry.path().extension() == ".journal") paths.push_back(entry.path());
    }
    std::ranges::sort(paths);  // by attempt: of two records of a field the later one counts
    const auto catalog = folder / "catalog.h5";
    if (paths.empty() && std::filesystem::exists(catalog)) return print_catalog(catalog.string());
    if (paths.empty()) throw DataError(fmt::format("{}: holds no journal and no catalogue", folder.string()));
    std::map<FieldId, std::int32_t> status;
    for (const auto& path : paths) print_journal(path, status);
    const auto failed = std::ranges::count_if(status, [](const auto& field) { return field.second != 0; });
    fmt::print("{} field(s) done, {} failed, which the next attempt tries again\n", std::ssize(status) - failed, failed);
    print_identity(paths.front());
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
    CLI::App* parser = app.add_subcommand("info", "what a model, catalogue, journal, checkpoint or galaxy decoder holds");
    parser
        ->add_option("file", *path,
                     "model.safetensors, catalog.h5, a .journal, the output folder of an unfinished run, checkpoint.safetensors or "
                     "galaxies.safetensors")
        ->required();
    return {parser, [path](const Common&, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                if (std::filesystem::is_directory(*path)) {
                    print_folder(*path);
                } else if (is_hdf5(*path)) {
                    print_catalog(*path);
                } else if (shard::is_journal(*path)) {
                    std::map<FieldId, std::int32_t> status;
                    print_journal(*path, status);
                    for (const auto& [id, failed] : status) fmt::print("  {}{}\n", to_string(id), failed != 0 ? ", failed" : "");
                    print_identity(*path);
                } else {
                    print_tensors(*path);
                }
                return k_exit_done;
            }};
}

}  // namespace bliss::apps
