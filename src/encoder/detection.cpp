#include "bliss/encoder/detection.hpp"

#include "bliss/encoder/neighbours.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "anchor.hpp"
#include "layers.hpp"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_context_hidden = 64;

/// The layers of the tower, in order.
enum Layer : std::size_t { to_half, half, to_quarter, block1_a, block1_b, block2_a, block2_b, close_up };
/// The numbers of one part of a slot's posterior, in order. Of the flux's mean: what is added to the anchor, and how much more or less than
/// whole the anchor counts. After them how much the place's anchor counts, where there is one, and a weight, where there are several parts.
enum Number : std::int64_t {
    u_mean,
    v_mean,
    u_sd,
    v_sd,
    ln_flux_shift,
    anchor_gain,
    ln_flux_sd,
    k_common_numbers,
    place_share = k_common_numbers,
};
std::int64_t numbers_of_part(std::int64_t components, bool place_anchor) {
    return k_common_numbers + (place_anchor ? 1 : 0) + (components > 1 ? 1 : 0);
}
/// Side of what the close-up reads about a tile, pixels.
constexpr std::int64_t k_close_up_px = 8;
/// Where a network begins, the anchor's share of a location: sigmoid of this.
constexpr double k_first_share = 2;
/// Brightness, ln of a flux against the noise of a pixel, as the correction of widths reads it: tanh((b - centre) / scale).
constexpr double k_brightness_centre = 6, k_brightness_scale = 2;
/// What width terms speak of, in order: ln of the location's and of the flux's widths, and a shift of the flux in units of its width.
enum WidthTerm : std::int64_t { location_width, flux_width, flux_shift, k_width_terms };
/// Pixels at each side of the window that only the matched filters read.
constexpr std::int64_t k_filter_margin_px = tile::k_filter_px / 2;

/// Maps any number into (low, high) on a logarithmic scale.
at::Tensor bounded_scale(const at::Tensor& raw, double low, double high) {
    const double span = std::log(high / low);
    return torch::exp(std::log(low) + span * torch::sigmoid(raw));
}

/// (B, channels, H, W) as rows (B, H, W, channels), for a layer whose weights are float.
at::Tensor rows_of(const at::Tensor& x) {
    return (at::autocast::is_autocast_enabled(x.device().type()) ? x : x.to(torch::kFloat)).permute({0, 2, 3, 1});
}

}  // namespace

ImageConditions ImageConditions::repeated(std::int64_t n) const {
    return {numbers.expand({n, -1}), rate.expand({n, -1}), ln_noise.expand({n, -1})};
}

ImageConditions ImageConditions::to(c10::Device device) const {
    const auto moved = [&](const at::Tensor& t) { return t.defined() ? t.to(device) : t; };
    return {moved(numbers), moved(rate), moved(ln_noise)};
}

template <class Change>
TilePosterior TilePosterior::changed(const Change& change) const {
    TilePosterior out;
    for (const auto member : {&TilePosterior::count_logits, &TilePosterior::log_weight, &TilePosterior::u_mean, &TilePosterior::u_sd,
                              &TilePosterior::v_mean, &TilePosterior::v_sd, &TilePosterior::ln_flux_mean, &TilePosterior::ln_flux_sd}) {
        out.*member = change(this->*member);
    }
    out.ln_flux_low = ln_flux_low;
    return out;
}

TilePosterior TilePosterior::detached() const {
    return changed([](const at::Tensor& t) { return t.detach(); });
}

TilePosterior TilePosterior::plain() const {
    return changed([](const at::Tensor& t) { return t.detach().to(torch::kCPU).contiguous(); });
}

TilePosterior TilePosterior::of(const at::Tensor& tiles) const {
    const at::Tensor there = tiles.to(count_logits.device());
    return changed([&](const at::Tensor& t) { return t.index_select(0, there); });
}

DetectionEncoderImpl::DetectionEncoderImpl(const EncoderConfig& config)
    : max_sources_{config.max_sources}, components_{config.components}, tile_px_{config.tile_px}, place_anchor_{config.place_anchor},
      ln_flux_low_{config.flux_low_e > 0 ? std::log(config.flux_low_e) : -std::numeric_limits<double>::infinity()},
      filter_channel_{static_cast<std::int64_t>(config.compression_scales.size())} {
    const auto in = static_cast<std::int64_t>(config.bands.size()) * tile::feature_count(config.compression_scales.size());
    const std::int64_t w = config.width, hidden = config.head_width, split = tile::k_tile_px / tile_px_;
    const torch::nn::Conv2d layers[] = {
        conv(in, 2 * w, 4, 2),                                              // 42 pixels -> 20: half resolution
        conv(2 * w, 2 * w, 3),                                              // 18
        conv(2 * w, 4 * w, 2, 2),                                           // 9: quarter resolution
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // two residual blocks: 5,
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // 1: 4 x 4 pixels
        conv(in, 4 * w, k_close_up_px, tile_px_),                           // past the tower: the tile's own pixels
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    torch::nn::init::zeros_(convs_[block1_b]->weight);
    torch::nn::init::zeros_(convs_[block2_b]->weight);
    film_half_ = register_module("film_half", Film(k_condition_count, 2 * w));
    film_quarter_ = register_module("film_quarter", Film(k_condition_count, 4 * w));
    film_head_ = register_module("film_head", Film(1, hidden));
    from_tower_ = register_module("from_tower", linear(4 * w, hidden * split * split));
    from_close_up_ = register_module("from_close_up", linear(4 * w, hidden));
    if (place_anchor_) {
        from_anchor_ = register_module("from_anchor", linear(k_evidence_numbers, hidden));
        torch::nn::init::zeros_(from_anchor_->weight);
    }
    if (config.reach > 0) {
        context_hidden_ = register_module("context_hidden", linear(context_length(config.reach, max_sources_), k_context_hidden));
        context_out_ = register_module("context_out", linear(k_context_hidden, hidden));
        torch::nn::init::zeros_(context_out_->weight);
    }
    head_hidden_ = register_module("head_hidden", linear(hidden, hidden));
    const std::int64_t m = max_sources_, c = components_, slots = slot_count(m);
    head_out_ = register_module("head_out", linear(hidden, m + 1 + numbers_of_part(c, place_anchor_) * slots * c));
    if (config.width_terms > 0) width_terms_ = register_parameter("width_terms", torch::zeros({k_width_terms, config.width_terms}));
    // Every tile begins with the same, moderate answer; the parts with different widths, or they would stay alike.
    torch::nn::init::zeros_(head_out_->weight);
    const torch::NoGradGuard no_grad;
    const at::Tensor spread = torch::arange(c, torch::kFloat) - 0.5 * static_cast<double>(c - 1);  // (C)
    const at::Tensor bias = head_out_->bias.slice(0, m + 1).view({numbers_of_part(c, place_anchor_), slots, c});
    for (const std::int64_t width : {u_sd, v_sd, ln_flux_sd}) bias[width].copy_(spread.expand({slots, c}));
}

at::Tensor DetectionEncoderImpl::conv_relu(std::size_t layer, const at::Tensor& x) {
    return rectify(convs_[layer]->forward(x));
}

at::Tensor DetectionEncoderImpl::trunk(const at::Tensor& x, const ImageConditions& conditions) {
    const at::Tensor pixels = x.to(convs_.front()->weight.scalar_type());
    const at::Tensor near = conv_relu(close_up, crop(pixels, tile::k_padding_px - (k_close_up_px - tile_px_) / 2));
    at::Tensor h = crop(pixels, k_filter_margin_px);
    h = rectify(film_half_->forward(convs_[to_half]->forward(h), conditions.numbers));
    h = conv_relu(half, h);
    h = rectify(film_quarter_->forward(convs_[to_quarter]->forward(h), conditions.numbers));
    h = rectify(crop(h, 2) + convs_[block1_b]->forward(conv_relu(block1_a, h)));
    h = rectify(crop(h, 2) + convs_[block2_b]->forward(conv_relu(block2_a, h)));
    at::Tensor tower = from_tower_->forward(rows_of(h));  // (B, T_h, T_w, hidden split^2)
    if (const std::int64_t split = tile::k_tile_px / tile_px_; split > 1) {
        tower = tower.unflatten(3, {split, split, -1}).permute({0, 1, 3, 2, 4, 5}).flatten(3, 4).flatten(1, 2);
    }
    const at::Tensor tiles = tower + from_close_up_->forward(rows_of(near));
    if (!place_anchor_) return torch::cat({tiles.to(torch::kFloat), flux_anchors(x, filter_channel_, tile_px_)}, 3);
    const Anchors anchors = find_anchors(x, conditions, filter_channel_, tile_px_);
    return torch::cat({(tiles + from_anchor_->forward(anchors.evidence)).to(torch::kFloat), anchors.numbers}, 3);
}

at::Tensor DetectionEncoderImpl::head(const at::Tensor& tiles, const at::Tensor& context, const ImageConditions& conditions) {
    const std::int64_t hidden = head_hidden_->options.in_features();
    at::Tensor h = tiles.slice(2, 0, hidden);
    if (context_hidden_) {
        const at::Tensor told = context.defined() ? context : torch::zeros({1, 1, context_hidden_->options.in_features()}, tiles.options());
        h = h + context_out_->forward(rectify(context_hidden_->forward(told)));
    }
    h = rectify(film_head_->forward(h, conditions.rate));
    h = rectify(head_hidden_->forward(h)).to(torch::kFloat);
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    return torch::cat({head_out_->forward(h), tiles.slice(2, hidden)}, 2);
}

TilePosterior DetectionEncoderImpl::posterior(const at::Tensor& raw, const ImageConditions& conditions) const {
    const std::int64_t m = max_sources_, c = components_;
    const std::int64_t numbers = numbers_of_part(c, place_anchor_), anchor_begin = m + 1 + numbers * slot_count(m) * c;
    const at::Tensor parts = raw.slice(2, m + 1, anchor_begin).unflatten(2, {numbers, slot_count(m), c});  // (B, n, F, S, C)
    const auto anchor_number = [&](AnchorNumber which) { return raw.select(2, anchor_begin + which).reshape({-1, 1, 1}); };
    const at::Tensor anchor = anchor_number(anchor_ln_flux);
    const auto part = [&](std::int64_t k) { return parts.select(2, k).flatten(0, 1); };
    const at::Tensor ln_noise = conditions.ln_noise.expand({raw.size(0), raw.size(1)}).reshape({-1, 1, 1});
    TilePosterior q;
    q.count_logits = raw.slice(2, 0, m + 1).flatten(0, 1);
    q.log_weight = c > 1 ? torch::log_softmax(part(numbers - 1), 2) : torch::zeros_like(part(u_mean));
    q.u_mean = 0.5 + 1.5 * torch::tanh(part(u_mean));
    q.v_mean = 0.5 + 1.5 * torch::tanh(part(v_mean));
    if (place_anchor_) {
        const at::Tensor share = torch::sigmoid(k_first_share + part(place_share));
        q.u_mean = torch::lerp(q.u_mean, anchor_number(anchor_u), share);
        q.v_mean = torch::lerp(q.v_mean, anchor_number(anchor_v), share);
    }
    q.u_sd = bounded_scale(part(u_sd), 0.002, 3.0);
    q.v_sd = bounded_scale(part(v_sd), 0.002, 3.0);
    q.ln_flux_mean = ln_noise + anchor + k_ln_flux_scale * part(ln_flux_shift) + part(anchor_gain) * (anchor - k_ln_flux_centre);
    q.ln_flux_sd = bounded_scale(part(ln_flux_sd), 0.003, 3.0);
    q.ln_flux_low = ln_flux_low_;
    if (width_terms_.defined()) correct_widths(q, ln_noise);
    return q;
}

void DetectionEncoderImpl::correct_widths(TilePosterior& q, const at::Tensor& ln_noise) const {
    const at::Tensor brightness = torch::tanh((q.ln_flux_mean.detach() - ln_noise - k_brightness_centre) / k_brightness_scale);
    const auto of = [&](WidthTerm which) {   // a polynomial of the brightness
        const auto terms = width_terms_.select(0, which).unbind(0);
        at::Tensor sum = terms.back() + torch::zeros_like(brightness);
        for (std::size_t k = terms.size() - 1; k-- > 0;) sum = sum * brightness + terms[k];
        return sum;
    };
    const at::Tensor of_location = torch::exp(of(location_width));
    q.u_sd = q.u_sd * of_location;
    q.v_sd = q.v_sd * of_location;
    q.ln_flux_sd = q.ln_flux_sd * torch::exp(of(flux_width));
    q.ln_flux_mean = q.ln_flux_mean + q.ln_flux_sd * of(flux_shift);
}

void DetectionEncoderImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
