#include "bliss/inference/config.hpp"
#include "command.hpp"

namespace bliss::apps {

double threshold_of(const catalog::Catalog& catalog) {
    inference::CatalogConfig config;
    ConfigDocument::from_text(catalog.configuration, "the catalogue's configuration").read(config);
    return config.threshold;
}

}  // namespace bliss::apps
