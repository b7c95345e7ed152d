#include "bliss/catalog/reader.hpp"
#include "bliss/core/error.hpp"
#include "bliss/inference/fields.hpp"
#include "bliss/inference/render.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <optional>

namespace bliss::apps {
namespace {

struct Options {
    std::string catalog, config, field, output;
    std::optional<double> threshold;
};

int run(const Options& options, const Common& common) {
    const auto config = read_config<inference::CatalogConfig>(options.config, common, comm::Communicator::self());
    const auto folder = std::filesystem::absolute(options.config).parent_path();
    const FieldId wanted = parse_field_id(options.field);
    const inference::FieldList fields = inference::list_fields(config.survey, folder);
    for (std::int64_t k = 0; k < fields.size(); ++k) {
        if (fields.id(k) != wanted) continue;
        const inference::FieldSource source = fields[k];
        const catalog::Catalog catalog = catalog::read_field(options.catalog, wanted);
        if (const catalog::FieldRow& row = catalog.fields.front(); row.status != 0) {
            throw DataError(fmt::format("{}: field {} failed ({})", options.catalog, options.field, catalog::text_of(row.reason)));
        }
        const survey::Frame frame = inference::read_field(config.survey, source);
        const inference::RenderOptions render{.threshold = options.threshold ? *options.threshold : threshold_of(catalog)};
        inference::write_render(options.output, frame, inference::render_model(catalog.sources, frame, render));
        fmt::print("{}: model.fits, residual.fits, residual.png\n", options.output);
        return k_exit_done;
    }
    throw ConfigError(
        fmt::format("{}: names no field {}; give the configuration the catalogue was made with", options.config, options.field));
}

}  // namespace

Command add_render(CLI::App& app) {
    auto options = std::make_shared<Options>();
    CLI::App* parser = app.add_subcommand("render", "model and residual images of one field: FITS and a picture");
    parser->add_option("catalog", options->catalog, "catalog.h5")->required();
    parser->add_option("--config", options->config, "the configuration the catalogue was made with: it says where the image is")
        ->required();
    parser->add_option("--field", options->field, "RUN-CAMCOL-FIELD; generic images are 0-0-0, 0-0-1, ...")->required();
    parser->add_option("-o,--output", options->output, "folder of model.fits, residual.fits and residual.png")->default_val("out/render");
    parser->add_option("--threshold", options->threshold, "least p_source drawn (default: the catalogue's threshold)")
        ->check(CLI::Range(0.0, 1.0));
    return {parser, [options](const Common& common, const comm::Communicator& comm) {
                if (comm.rank() != 0) return k_exit_done;
                const auto compute = start_compute(common, comm::Communicator::self());
                return static_cast<ExitStatus>(run(*options, common));
            },
            true, false};
}

}  // namespace bliss::apps
