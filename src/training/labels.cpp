#include "bliss/training/labels.hpp"

#include "bliss/tile/grid.hpp"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::training {
namespace {

/// The sources of one image as its tiles' neighbours are told of them.
encoder::DrawnTiles drawn_of(const std::vector<LabelledSource>& sources, std::size_t first, const LabelSettings& settings,
                             double ln_noise) {
    const std::int64_t side = settings.tiles_per_side;
    encoder::DrawnTiles drawn{side, side, settings.max_sources};
    for (std::size_t k = first; k < sources.size(); ++k) {
        const LabelledSource& s = sources[k];
        const std::int64_t row = s.tile / side % side, col = s.tile % side;
        const auto held = drawn.sources(row, col);
        std::vector<encoder::DrawnSource> all(held.begin(), held.end());
        all.push_back({s.u, s.v, s.ln_flux_e - static_cast<float>(ln_noise)});
        drawn.set(row, col, all);
    }
    return drawn;
}

}  // namespace

Labels make_labels(const std::vector<simulator::ImageTruth>& truths, const LabelSettings& settings) {
    const auto images = static_cast<std::int64_t>(truths.size());
    const std::int64_t side = settings.tiles_per_side;
    Labels labels{torch::zeros({images * side * side}, torch::kLong), {}, {}, {}};
    std::int64_t* const count = labels.count.data_ptr<std::int64_t>();
    std::vector<const simulator::Source*> truth_of;
    for (std::int64_t image = 0; image < images; ++image) {
        const simulator::ImageTruth& truth = truths[static_cast<std::size_t>(image)];
        const std::size_t first = labels.sources.size();
        for (const simulator::Source& source : truth.sources) {
            if (source.flux_e < settings.label_flux_min_e) break;  // brightest first
            const tile::TileLocation at =
                tile::to_tile(source.x_px - tile::k_padding_px, source.y_px - tile::k_padding_px, settings.tile_px);
            if (at.tile.row < 0 || at.tile.col < 0 || at.tile.row >= side || at.tile.col >= side) continue;
            const std::int64_t tile = (image * side + at.tile.row) * side + at.tile.col;
            if (count[tile] == settings.max_sources) continue;
            labels.sources.push_back({image, tile, count[tile], source.x_px, source.y_px, static_cast<float>(at.u),
                                      static_cast<float>(at.v), static_cast<float>(std::log(source.flux_e)), source.is_star});
            truth_of.push_back(&source);
            ++count[tile];
        }
        labels.drawn.push_back(drawn_of(labels.sources, first, settings, 0.5 * std::log(truth.conditions.background_e)));
    }
    if (settings.latents > 0) {
        labels.shape_latents = torch::zeros({std::ssize(truth_of), settings.latents - 1});
        for (std::size_t k = 0; k < truth_of.size(); ++k) {
            if (truth_of[k]->is_star) continue;
            std::copy(truth_of[k]->latents.begin() + 1, truth_of[k]->latents.end(),
                      labels.shape_latents[static_cast<std::int64_t>(k)].data_ptr<float>());
        }
    }
    return labels;
}

at::Tensor contexts(const Labels& labels, std::int64_t reach, std::int64_t max_sources) {
    const std::int64_t images = std::ssize(labels.drawn), tiles = labels.count.numel() / images;
    const std::int64_t length = encoder::context_length(reach, max_sources);
    at::Tensor out = torch::empty({images, tiles, length});
    float* const at = out.data_ptr<float>();
    at::parallel_for(0, images * tiles, 1024, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) {
            const encoder::DrawnTiles& drawn = labels.drawn[static_cast<std::size_t>(k / tiles)];
            encoder::write_context(drawn, k % tiles / drawn.cols(), k % drawn.cols(), reach, max_sources, at + k * length);
        }
    });
    return out;
}

}  // namespace bliss::training
