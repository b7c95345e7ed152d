#include "bliss/catalog/export.hpp"
#include "bliss/catalog/reader.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <optional>

namespace bliss::apps {

Command add_export(CLI::App& app) {
    struct Options {
        std::string catalog, format = "fits", output;
        std::optional<double> threshold;
    };
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("export", "catalog.h5 -> FITS table, CSV or DS9 regions");
    parser->add_option("catalog", options->catalog, "catalog.h5")->required();
    parser->add_option("--format", options->format, "fits, csv or ds9")
        ->check(CLI::IsMember({"fits", "csv", "ds9"}))
        ->capture_default_str();
    parser->add_option("-o,--output", options->output, "file to write (default: beside the catalogue)");
    parser->add_option("--threshold", options->threshold, "least p_source (default: the catalogue's threshold); 0 exports all candidates")
        ->check(CLI::Range(0.0, 1.0));
    return {parser, [options](const Common&, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                std::filesystem::path output = options->output;
                if (output.empty()) {
                    output = std::filesystem::path(options->catalog).replace_extension(options->format == "ds9" ? "reg" : options->format);
                }
                const catalog::Catalog catalog = catalog::read_catalog(options->catalog);
                const catalog::ExportOptions choice{.min_p_source = options->threshold ? *options->threshold : threshold_of(catalog)};
                if (options->format == "fits") catalog::export_fits(catalog, output, choice);
                if (options->format == "csv") catalog::export_csv(catalog, output, choice);
                if (options->format == "ds9") catalog::export_ds9(catalog, output, choice);
                fmt::print("{}\n", output.string());
                return k_exit_done;
            }};
}

}  // namespace bliss::apps
