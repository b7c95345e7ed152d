#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/encoder/galaxy_vae.hpp"
#include "bliss/encoder/settings.hpp"
#include "bliss/encoder/source_encoder.hpp"
#include "bliss/encoder/tensor_file.hpp"
#include "bliss/simulator/prior.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace bliss::encoder {

/// Version of the model file's content; raised whenever the networks or their inputs change.
inline constexpr std::int64_t k_model_version = 5;

/// What a model was trained for and on: everything a user of the weights needs to know.
struct ModelCard {
    double sources_per_tile = 0;  ///< mean prior rate of the training images, sources above the label limit
    double label_flux_min_e = 0;  ///< faintest reported source, electrons
    double star_fraction = 0;     ///< prior share of stars among all simulated sources, also those below the label limit
    double psf_fwhm_px_low = 0, psf_fwhm_px_high = 0;    ///< range of seeing seen in training
    double background_e_low = 0, background_e_high = 0;  ///< range of sky seen in training
    double sources_per_tile_low = 0, sources_per_tile_high = 0;
    std::uint64_t seed = 0;
    std::int64_t steps = 0;
    std::int64_t tiles = 0;       ///< tiles of simulated image seen
    std::string training_config;  ///< resolved TOML
    std::string program_version;
    std::string metrics;  ///< JSON of the last validation, may be empty
};

/// What galaxies look like: the decoder of a galaxy VAE.
struct Galaxies {
    GalaxyVaeConfig config;
    GalaxyDecoderNet decoder{nullptr};
};

/// The networks with what they need to be used.
struct Model {
    /// @param galaxies the prior's; without them the model says nothing of shapes
    explicit Model(const EncoderConfig& config, std::optional<Galaxies> galaxies = {});

    EncoderConfig config;
    simulator::PriorConfig prior;  ///< of the training images
    DetectionEncoder detection;
    std::optional<Galaxies> galaxies;  ///< of a model trained on learnt galaxies
    SourceEncoder sources;
    ModelCard card;

    /// Computes the convolutions of all networks in bfloat16.
    void use_bfloat16();

    /// Moves the encoders to a device; the galaxy decoder is asked for plain numbers and stays.
    void use(c10::Device device);
};

/// Weights of all networks under the names "detection.*", "sources.*" and "galaxies.*" (the galaxy decoder's); they share
/// memory with the model.
[[nodiscard]] std::map<std::string, at::Tensor> named_weights(const Model& model);

/// Writes a model file. @throws IoError.
void save_model(const std::filesystem::path& path, const Model& model);

/// @throws DataError naming the file: absent, not a model, of another version, or with weights that do not fit.
[[nodiscard]] Model load_model(const std::filesystem::path& path);

/// Writes the decoder of a galaxy VAE. @param prior of the galaxies it was learnt from @param about what it was trained for and came to,
/// texts by name @throws IoError.
void save_galaxies(const std::filesystem::path& path, const Galaxies& galaxies, const simulator::PriorConfig& prior,
                   const std::map<std::string, std::string>& about);

/// The galaxy decoder of such a file or of a model file. @throws DataError naming the file, also where it has none.
[[nodiscard]] Galaxies load_galaxies(const std::filesystem::path& path);

/// The same, to be drawn from under a prior: shapes are learnt in units of what the prior says of sizes.
/// @throws DataError, and ConfigError where the galaxies were learnt under another law of sizes.
[[nodiscard]] Galaxies load_galaxies_for(const simulator::PriorConfig& prior, const std::filesystem::path& path);

/// Copies tensors of the same names and shapes into the model's weights. @throws DataError naming `source`.
void assign_weights(const Model& model, const std::map<std::string, at::Tensor>& weights, const std::string& source);

}  // namespace bliss::encoder
