#pragma once

#include "bliss/encoder/shape_head.hpp"
#include "bliss/encoder/window_tower.hpp"

#include <optional>

namespace bliss::encoder {

/// What the image says of n single sources.
struct SourcePosterior {
    at::Tensor star_logits;               ///< (n) of "star"
    std::optional<ShapePosterior> shape;  ///< given that it is a galaxy; where the model has learnt galaxies

    /// Of the first sources alone.
    [[nodiscard]] SourcePosterior first(std::int64_t sources) const;
};

/// The encoder of single sources. Its two heads, which may share the convolutions, are the paper's classification encoder
/// q(a_s | x, location, flux) and its galaxy encoder q(v | x, location, flux, galaxy) (section 3.1).
class SourceEncoderImpl : public torch::nn::Module {
public:
    /// @param latents D of the learnt galaxies; 0: types alone
    SourceEncoderImpl(const EncoderConfig& config, std::int64_t latents);

    SourcePosterior forward(const SourceWindows& windows);

    void use_bfloat16();

private:
    WindowTower tower_{nullptr};
    torch::nn::Linear type_hidden_{nullptr};
    torch::nn::Linear type_{nullptr};
    WindowTower shape_tower_{nullptr};  ///< where shapes do not share the other
    ShapeHead shape_{nullptr};
};
TORCH_MODULE(SourceEncoder);

}  // namespace bliss::encoder
