#include "bliss/catalog/export.hpp"
#include "bliss/catalog/reader.hpp"
#include "bliss/core/error.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace bliss::apps {
namespace {

/// The part of a catalogue that is asked for. @throws ConfigError
catalog::Catalog read(const std::string& path, const std::string& field, const std::vector<double>& cone) {
    if (!field.empty()) return catalog::read_field(path, parse_field_id(field));
    if (cone.empty()) return catalog::read_catalog(path);
    const double ra = cone[0], dec = cone[1], radius = cone[2];
    if (!(std::abs(ra) <= 360 && std::abs(dec) <= 90 && radius > 0 && radius <= 180)) {
        throw ConfigError(fmt::format("--cone {} {} {}: RA from -360 to 360, DEC from -90 to 90 and R from 0 to 180 degrees are wanted", ra,
                                      dec, radius));
    }
    return catalog::read_cone(path, {ra, dec}, radius);
}

}  // namespace

Command add_export(CLI::App& app) {
    struct Options {
        std::string catalog, format = "fits", output;
        std::optional<double> threshold;
        std::string field;
        std::vector<double> cone;
        bool duplicates = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("export", "catalog.h5 -> FITS table, CSV or DS9 regions");
    parser->add_option("catalog", options->catalog, "catalog.h5")->required();
    parser->add_option("--format", options->format, "fits, csv or ds9")
        ->check(CLI::IsMember({"fits", "csv", "ds9"}))
        ->capture_default_str();
    parser->add_option("-o,--output", options->output, "file to write (default: beside the catalogue)");
    parser
        ->add_option("--threshold", options->threshold,
                     "least p_source (default: the catalogue's threshold); 0 and --duplicates export all candidates")
        ->check(CLI::Range(0.0, 1.0));
    CLI::Option* field = parser->add_option("--field", options->field, "only this field (RUN-CAMCOL-FIELD; generic images are 0-0-0, ...)");
    parser->add_option("--cone", options->cone, "only within R of a place: RA DEC R, all in degrees (-0.5, not -.5)")
        ->expected(3)
        ->excludes(field);
    parser->add_flag("--duplicates", options->duplicates,
                     "where fields overlap, also the rows of the field that does not own the place (default: each source once)");
    parser->footer("Of a large catalogue --field and --cone read no more than they need.");
    return {parser, [options](const Common&, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                std::filesystem::path output = options->output;
                if (output.empty()) {
                    output = std::filesystem::path(options->catalog).replace_extension(options->format == "ds9" ? "reg" : options->format);
                }
                const catalog::Catalog catalog = read(options->catalog, options->field, options->cone);
                const catalog::ExportOptions choice{.min_p_source = options->threshold ? *options->threshold : threshold_of(catalog),
                                                    .primary_only = !options->duplicates};
                const auto wanted = [&](const catalog::SourceRow& source) { return choice.wants(source); };
                if (options->format == "fits") catalog::export_fits(catalog, output, choice);
                if (options->format == "csv") catalog::export_csv(catalog, output, choice);
                if (options->format == "ds9") catalog::export_ds9(catalog, output, choice);
                fmt::print("{}: {} sources\n", output.string(), std::ranges::count_if(catalog.sources, wanted));
                return k_exit_done;
            }};
}

}  // namespace bliss::apps
