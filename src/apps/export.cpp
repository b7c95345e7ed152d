#include "bliss/catalog/export.hpp"
#include "bliss/catalog/reader.hpp"
#include "command.hpp"

#include <fmt/format.h>

namespace bliss::apps {

Command add_export(CLI::App& app) {
    struct Options {
        std::string catalog, format = "fits", output;
        catalog::ExportOptions options;
    };
    auto options = std::make_shared<Options>();
    options->options.min_p_source = 0.5;
    CLI::App* parser = app.add_subcommand("export", "catalog.h5 -> FITS table, CSV or DS9 regions");
    parser->add_option("catalog", options->catalog, "catalog.h5")->required();
    parser->add_option("--format", options->format, "fits, csv or ds9")->check(CLI::IsMember({"fits", "csv", "ds9"}))->capture_default_str();
    parser->add_option("-o,--output", options->output, "file to write (default: beside the catalogue)");
    parser->add_option("--threshold", options->options.min_p_source, "least p_source; 0 exports all candidates")->capture_default_str();
    return {parser, [options](const Common&, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                std::filesystem::path output = options->output;
                if (output.empty()) {
                    output = std::filesystem::path(options->catalog).replace_extension(options->format == "ds9" ? "reg" : options->format);
                }
                const catalog::Catalog catalog = catalog::read_catalog(options->catalog);
                if (options->format == "fits") catalog::export_fits(catalog, output, options->options);
                if (options->format == "csv") catalog::export_csv(catalog, output, options->options);
                if (options->format == "ds9") catalog::export_ds9(catalog, output, options->options);
                fmt::print("{}\n", output.string());
                return k_exit_done;
            }};
}

}  // namespace bliss::apps
