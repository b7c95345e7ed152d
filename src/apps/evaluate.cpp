#include "bliss/catalog/reader.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/evaluation/metrics.hpp"
#include "bliss/evaluation/report.hpp"
#include "bliss/evaluation/truth.hpp"
#include "bliss/training/judge.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace bliss::apps {
namespace {

struct Options {
    std::string file;
    std::vector<std::string> truth;
    std::string json;
    std::string field;
    std::optional<double> threshold;
    evaluation::EvaluationOptions evaluation;
    evaluation::TruthColumns columns;
    double tiles = 2e6;
    std::int64_t seed = 20261125;
};

/// Prints scores, or writes them where asked for.
void report(const std::string& text, const std::string& json, const std::string& path) {
    if (path == "-") {
        fmt::print("{}\n", json);
        return;
    }
    if (!path.empty()) write_file(path, json + '\n');
    fmt::print("{}", text);
}

/// @param options what means nothing for a file of this kind
/// @throws ConfigError where one of them was given.
void refuse(const std::vector<CLI::Option*>& options, const std::string& file, std::string_view kind) {
    for (const CLI::Option* option : options) {
        if (option->count() > 0) throw ConfigError(fmt::format("{} is {}: {} means nothing for it", file, kind, option->get_name()));
    }
}

/// Judges a model on simulated tiles. @param meaningless options of catalogues @collective
int run_model(const Options& options, const std::vector<CLI::Option*>& meaningless, const Common& common, const comm::Communicator& comm) {
    std::optional<encoder::Model> model;
    comm::agree_on(comm, [&] {
        model.emplace(encoder::load_model(options.file));
        refuse(meaningless, options.file, "a model");
    });
    const auto compute = start_compute(common, comm);
    const training::Judgement judgement =
        training::judge(*model, static_cast<std::int64_t>(options.tiles), static_cast<std::uint64_t>(options.seed), comm);
    if (comm.rank() == 0) report(training::to_text(judgement), training::to_json(judgement), options.json);
    return k_exit_done;
}

/// Pairs the catalogue's finished fields, in order, with one truth file each.
int run_catalog(const Options& options) {
    if (options.truth.empty()) throw ConfigError(fmt::format("{}: name its truth, one file for each field, with --truth", options.file));
    const auto& e = options.evaluation;
    const double bins = (e.last_mag - e.first_mag) / e.mag_step;
    constexpr double k_most_bins = 1000;
    if (!(bins > 0.5 && bins < k_most_bins && std::abs(bins - std::round(bins)) < 1e-6)) {
        throw ConfigError(
            fmt::format("--first-mag {}, --last-mag {}: must be a whole number of --mag-step {} apart, at most {}, the fainter "
                        "last",
                        e.first_mag, e.last_mag, e.mag_step, k_most_bins));
    }
    const catalog::Catalog catalog =
        options.field.empty() ? catalog::read_catalog(options.file) : catalog::read_field(options.file, parse_field_id(options.field));
    std::vector<const catalog::FieldRow*> fields;
    for (const catalog::FieldRow& row : catalog.fields) {
        if (row.status == 0) fields.push_back(&row);
    }
    if (fields.size() != options.truth.size()) {
        throw ConfigError(
            fmt::format("{} has {} finished field(s), but {} truth file(s) were given; give one each in the order of /fields, "
                        "or choose one with --field",
                        options.file, fields.size(), options.truth.size()));
    }
    std::vector<std::vector<evaluation::TruthSource>> truths;
    for (std::size_t i = 0; i < fields.size(); ++i) truths.push_back(evaluation::read_truth(options.truth[i], *fields[i], options.columns));
    std::vector<evaluation::FieldPair> pairs;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        pairs.push_back({.detections = catalog::sources_of(catalog, *fields[i]),
                         .truth = truths[i],
                         .height_px = fields[i]->height_px,
                         .width_px = fields[i]->width_px,
                         .samples = catalog::samples_of(catalog, *fields[i]),
                         .draws = catalog.draws});
    }
    evaluation::EvaluationOptions choice = options.evaluation;
    choice.min_p_source = options.threshold ? *options.threshold : threshold_of(catalog);
    const evaluation::Evaluation result = evaluation::evaluate(pairs, choice);
    report(evaluation::to_text(result), evaluation::to_json(result), options.json);
    return k_exit_done;
}

}  // namespace

Command add_evaluate(CLI::App& app) {
    auto options = std::make_shared<Options>();
    CLI::App* parser =
        app.add_subcommand("evaluate", "scores of a catalogue against truth; or how well calibrated a model's posteriors are");
    parser->add_option("file", options->file, "catalog.h5, or a model")->required();
    parser->add_option("--truth", options->truth, "catalogue: truth of each finished field: of simulate, photoObj, or any FITS table");
    parser->add_option("--tiles", options->tiles, "model: simulated tiles it is judged on")
        ->check(CLI::Range(1.0, 1e12))
        ->capture_default_str();
    parser->add_option("--seed", options->seed, "model: of the simulated tiles")->check(CLI::NonNegativeNumber)->capture_default_str();
    parser->add_option("--json", options->json, "also write the scores to this file as JSON ('-': print JSON instead of text)");
    parser->add_option("--field", options->field, "only this field (RUN-CAMCOL-FIELD; generic images are 0-0-0, 0-0-1, ...)");
    auto& e = options->evaluation;
    parser->add_option("--threshold", options->threshold, "p_source from which a detection counts (default: the catalogue's threshold)")
        ->check(CLI::Range(0.0, 1.0));
    parser->add_option("--match-limit", e.match_limit_px, "largest distance of a match in x and in y, px")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    parser->add_option("--match-mag", e.match_limit_mag, "largest difference of magnitudes in a match (default: any)")
        ->check(CLI::PositiveNumber);
    parser->add_option("--box", e.box_px, "side of the boxes that joint draws are counted in, px")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    parser->add_option("--border", e.border_px, "what lies nearer to the edge is not counted, px")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    parser->add_option("--first-mag", e.first_mag, "brightest magnitude of the table")->capture_default_str();
    parser->add_option("--last-mag", e.last_mag, "faintest magnitude of the table")->capture_default_str();
    parser->add_option("--mag-step", e.mag_step, "width of a bin, mag")->check(CLI::PositiveNumber)->capture_default_str();
    parser->add_option("--bright-mag", e.bright_mag, "limit of the 'brighter than' summary")->capture_default_str();
    auto& c = options->columns;
    parser->add_option("--x-column", c.x, "any table: column of x, px, 0 = centre of the first pixel");
    parser->add_option("--y-column", c.y, "any table: column of y, px");
    parser->add_option("--ra-column", c.ra, "any table: column of right ascension, deg");
    parser->add_option("--dec-column", c.dec, "any table: column of declination, deg");
    parser->add_option("--mag-column", c.mag, "any table: column of AB magnitude");
    parser->add_option("--flux-column", c.flux, "any table: column of flux, nmgy");
    parser->add_option("--type-column", c.type, "any table: column of the type, a number");
    parser->add_option("--star-value", c.star_value, "any table: value of the type that means star")->capture_default_str();
    std::vector<CLI::Option*> of_model{parser->get_option("--tiles"), parser->get_option("--seed")}, of_catalogue;
    for (CLI::Option* option : parser->get_options()) {
        const bool of_both = option->get_positional() || option->check_name("--json") || option->check_name("--help");
        if (!of_both && std::ranges::find(of_model, option) == of_model.end()) of_catalogue.push_back(option);
    }
    return {parser, [options, of_model, of_catalogue](const Common& common, const comm::Communicator& comm) {
                bool catalogue = false;
                comm::agree_on(comm, [&] {
                    catalogue = is_hdf5(options->file);
                    if (catalogue) refuse(of_model, options->file, "a catalogue");
                });
                if (!catalogue) return run_model(*options, of_catalogue, common, comm);
                return comm.rank() == 0 ? run_catalog(*options) : int{k_exit_done};
            }};
}

}  // namespace bliss::apps
