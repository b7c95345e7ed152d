#pragma once

#include "bliss/encoder/film.hpp"
#include "bliss/encoder/settings.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <limits>
#include <vector>

namespace bliss::encoder {

/// The parameters of a tile's sources come in sets: one for each count n = 1 ... M, of n slots. @return place of slot m of count n
[[nodiscard]] constexpr std::int64_t slot_index(std::int64_t n, std::int64_t m) { return n * (n - 1) / 2 + m; }
/// Slots of all sets together, S.
[[nodiscard]] constexpr std::int64_t slot_count(std::int64_t max_sources) { return slot_index(max_sources + 1, 0); }

/// Parameters of the variational distribution of N tiles (paper section 3.1).
///
/// Count: categorical over 0 ... M. Given the count n, slot m of its set is a mixture of C parts, each a product of factors: location
/// (u, v) in the tile's unit square, each a Normal truncated to [0, 1]; ln of the flux in electrons: a Normal without what lies below the
/// least flux. Several parts give tails heavier than a Normal's, and a flux that hangs on what the source is. Slots are independent given
/// the count, and exchangeable.
struct TilePosterior {
    at::Tensor count_logits;              ///< (N, M + 1)
    at::Tensor log_weight;                ///< (N, S, C) ln of the parts' shares, which sum to 1
    at::Tensor u_mean, u_sd;              ///< (N, S, C) along columns, in tiles
    at::Tensor v_mean, v_sd;              ///< (N, S, C) along rows, in tiles
    at::Tensor ln_flux_mean, ln_flux_sd;  ///< (N, S, C) before truncation
    double ln_flux_low = -std::numeric_limits<double>::infinity();   ///< ln of the least flux

    /// The same without gradients.
    [[nodiscard]] TilePosterior detached() const;
    /// The same without gradients in the memory of the processor, each tensor contiguous: to be read number by number.
    [[nodiscard]] TilePosterior plain() const;
    /// The posteriors of some tiles. @param tiles (n) int64, also with repetitions
    [[nodiscard]] TilePosterior of(const at::Tensor& tiles) const;

private:
    template <class Change>
    [[nodiscard]] TilePosterior changed(const Change& change) const;
};

/// What the networks are told about each of B images.
struct ImageConditions {
    at::Tensor numbers;   ///< (B, k_condition_count) see `conditioning`
    at::Tensor rate;      ///< (B, 1) see `rate_conditioning`
    at::Tensor ln_noise;  ///< (B, 1) ln of the noise, sqrt(background): fluxes are predicted against it

    /// The one image's conditions for each of n images.
    [[nodiscard]] ImageConditions repeated(std::int64_t n) const;

    /// The same on a device.
    [[nodiscard]] ImageConditions to(c10::Device device) const;
};

/// The detection encoder: a trunk that reads the image, and a head that is asked tile by tile.
///
/// The trunk is a tower of valid convolutions with a receptive field of exactly 52 pixels and total stride 4. On one padded tile
/// (52 x 52) it gives one tile's numbers (of side 2 pixels: four tiles'); slid over a padded image it gives, for every tile, exactly
/// what it would give on that tile alone, because nothing in it looks outside the window: no padding, no statistics over
/// pixels. No normalisation layers; residual blocks start as the identity. The outermost pixels of the window are read by the
/// matched filters alone (tile::features).
///
/// The head is also told what was drawn in neighbouring tiles (encoder/neighbours.hpp), and the prior source rate: how sure a tile is
/// of a faint source depends on them, what the image shows does not.
class DetectionEncoderImpl : public torch::nn::Module {
public:
    explicit DetectionEncoderImpl(const EncoderConfig& config);

    /// What the image shows of each tile. @param x features (B, C, 4 T_h + 48, 4 T_w + 48)
    /// @return (B, s T_h, s T_w, hidden + A) float, with s = 1 for tiles of 4 pixels, 2 for tiles of 2; last stands the anchor, A = 1 or,
    /// with a place, 3 numbers: ln of the flux, against the noise, and place in the tile of the star that the matched filter sees there
    at::Tensor trunk(const at::Tensor& x, const ImageConditions& conditions);

    /// Raw outputs for n tiles of each of B images. @param tiles (B, n, hidden + A) of `trunk`
    /// @param context (B, n, context_length) of the neighbours, or undefined: nothing is told of any of them
    /// @return (B, n, (M + 1) + F S C + A) with F = 7 numbers a part, its anchor's share of places where there is one, and its weight where
    /// there are several; last the anchor
    at::Tensor head(const at::Tensor& tiles, const at::Tensor& context, const ImageConditions& conditions);

    /// Puts raw outputs into the ranges of the posterior's parameters. @param raw (B, n, K) @return of N = B n tiles
    [[nodiscard]] TilePosterior posterior(const at::Tensor& raw, const ImageConditions& conditions) const;

    /// Numbers of the correction of the parts' widths and fluxes by brightness, (3, K); undefined where there are none.
    [[nodiscard]] const at::Tensor& width_terms() const { return width_terms_; }

    /// Computes the convolutions in bfloat16 (parameters are converted; the head stays in single precision).
    void use_bfloat16();

private:
    at::Tensor conv_relu(std::size_t layer, const at::Tensor& x);
    void correct_widths(TilePosterior& q, const at::Tensor& ln_noise) const;

    std::int64_t max_sources_;
    std::int64_t components_;
    std::int64_t tile_px_;
    bool place_anchor_;
    double ln_flux_low_;
    std::int64_t filter_channel_;   ///< of the features: the star's matched filter
    std::vector<torch::nn::Conv2d> convs_;
    Film film_half_{nullptr};
    Film film_quarter_{nullptr};
    Film film_head_{nullptr};
    torch::nn::Linear from_tower_{nullptr};
    torch::nn::Linear from_close_up_{nullptr};
    torch::nn::Linear from_anchor_{nullptr};   ///< absent without a place anchor
    torch::nn::Linear context_hidden_{nullptr};
    torch::nn::Linear context_out_{nullptr};
    torch::nn::Linear head_hidden_{nullptr};
    torch::nn::Linear head_out_{nullptr};
    at::Tensor width_terms_;        ///< (3, K), undefined where there are none
};
TORCH_MODULE(DetectionEncoder);

}  // namespace bliss::encoder
