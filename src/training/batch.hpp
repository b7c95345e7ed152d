#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/training/config.hpp"
#include "bliss/training/labels.hpp"

namespace bliss::training {

/// Simulated images as the networks read them, with what they should say. B images, each of T x T labelled tiles. What the networks read is
/// on their device, the labels are on the host.
struct Batch {
    at::Tensor features;  ///< (B, C, H, W): the labelled tiles and 24 pixels of padding
    encoder::ImageConditions conditions;
    std::vector<float> ln_noise;  ///< of each image, as in `conditions`
    at::Tensor psf_profiles;      ///< (B, k_profile_length + 1)
    at::Tensor context;           ///< (B, T T, context_length) of each tile's neighbours; undefined for independent tiles
    Labels labels;
    simulator::SampleRange range;
    double compression_scale = 0;     ///< of the features' first channel
    std::vector<double> psf_fwhm_px;  ///< of each image
};

/// Whether the pixels of simulated images are made on this device: a GPU, and one that Kokkos was built for and runs on.
[[nodiscard]] bool makes_images_on(c10::Device device, const TrainingConfig& config);

[[nodiscard]] Batch make_batch(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder, const simulator::SampleRange& range,
                               std::int64_t images, c10::Device device = torch::kCPU);

/// How sources are given to the encoders of single sources (encoder::GivenSource).
enum class GivenAs {
    drawn,  ///< all as they are, as a draw gives them
    mixed,  ///< half of those alone in their tile by moments of the detection encoder's posterior, as the catalogue's mode gives them
};

/// Labelled sources of a batch for the encoders of single sources.
struct SourceBatch {
    encoder::SourceWindows windows;    ///< the first source is repeated after the last, up to a round number of windows
    std::vector<std::size_t> sources;  ///< which of the labelled sources, m of them
    at::Tensor is_star;                ///< (m) 1 or 0
    at::Tensor shape_latents;          ///< (m, D - 1), 0 for stars; undefined without learnt galaxies
    at::Tensor weight;                 ///< (m) labelled sources that each stands for
};

/// @param most_per_image at most so many sources of each image, spread evenly over its labelled ones
[[nodiscard]] SourceBatch pick_sources(const Batch& batch, const encoder::TilePosterior& q, GivenAs given, std::size_t most_per_image);

/// Mean labelled sources in one of the networks' tiles over the training images.
[[nodiscard]] double labelled_per_tile(const TrainingConfig& config);

[[nodiscard]] encoder::ModelCard make_card(const TrainingConfig& config, std::int64_t steps, const std::string& metrics_json);

}  // namespace bliss::training
