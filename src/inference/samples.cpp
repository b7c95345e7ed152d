#include "bliss/inference/samples.hpp"

#include "bliss/encoder/distributions.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::inference {
namespace {

constexpr int k_halvings = 30;

/// Place in the tile's unit interval below which a share of a truncated Normal lies.
double truncated_normal_quantile(double share, double mean, double sd) {
    const encoder::TruncatedNormalCdf cdf{mean, sd};
    double low = 0, high = 1;
    for (int i = 0; i < k_halvings; ++i) {
        const double middle = 0.5 * (low + high);
        (cdf(middle) < share ? low : high) = middle;
    }
    return 0.5 * (low + high);
}

/// One number of a list of shares that sum to 1.
template <class Shares>
std::size_t pick(const Shares& shares, std::size_t size, double u) {
    for (std::size_t k = 0; k + 1 < size; ++k) {
        if (u < shares(k)) return k;
        u -= shares(k);
    }
    return size - 1;
}

/// What tiles say of their counts while nothing is drawn around them: the same for all draws.
struct EmptyTurn {
    std::vector<TileIndex> tiles;
    at::Tensor probabilities;   ///< (tiles, M + 1)
};

std::vector<EmptyTurn> ask_empty(const TileChain& chain) {
    const encoder::DrawnTiles nothing = chain.nothing_drawn();
    std::vector<EmptyTurn> turns;
    for (std::int64_t turn = 0; turn < encoder::k_colours; ++turn) {
        std::vector<TileIndex> tiles = chain.tiles_of_turn(turn);
        at::Tensor probabilities = tiles.empty() ? at::Tensor{} : chain.ask(tiles, nothing).count_probabilities();
        turns.push_back({std::move(tiles), std::move(probabilities)});
    }
    return turns;
}

/// One joint draw.
class Draw {
public:
    Draw(const TileChain& chain, const std::vector<EmptyTurn>& empty, const DrawKey& key, std::int32_t sample)
        : chain_{chain}, empty_{empty}, key_{key}, sample_{sample}, drawn_{chain.nothing_drawn()},
          told_(static_cast<std::size_t>(chain.shape().rows * chain.shape().cols), 0) {}

    std::vector<SampledSource> run() {
        for (std::int64_t turn = 0; turn < encoder::k_colours; ++turn) draw_turn(turn);
        std::stable_sort(sources_.begin(), sources_.end(), [](const SampledSource& a, const SampledSource& b) { return a.tile < b.tile; });
        return std::move(sources_);
    }

private:
    /// A tile that holds sources, with its own random numbers.
    struct Occupied {
        TileIndex tile;
        std::int64_t count;
        RandomStream random;
    };

    [[nodiscard]] std::size_t number(const TileIndex& tile) const {
        return static_cast<std::size_t>(tile.row) * static_cast<std::size_t>(chain_.shape().cols) + static_cast<std::size_t>(tile.col);
    }

    void draw_turn(std::int64_t turn) {
        const EmptyTurn& empty = empty_[static_cast<std::size_t>(turn)];
        std::vector<TileIndex> told;
        for (const TileIndex& tile : empty.tiles) {
            if (told_[number(tile)]) told.push_back(tile);
        }
        const at::Tensor of_told = told.empty() ? at::Tensor{} : chain_.ask(told, drawn_).count_probabilities();
        const std::int64_t counts = chain_.shape().max_sources + 1;
        std::vector<Occupied> occupied;
        std::vector<TileIndex> tiles;
        std::int64_t place = 0, told_place = 0;
        for (const TileIndex& tile : empty.tiles) {
            const float* const p = told_[number(tile)] ? of_told.data_ptr<float>() + counts * told_place++
                                                       : empty.probabilities.data_ptr<float>() + counts * place;
            ++place;
            RandomStream random = stream_of(key_, StreamPurpose::posterior, sample_, static_cast<std::uint32_t>(number(tile)), 0);
            const auto count = static_cast<std::int64_t>(
                pick([&](std::size_t n) { return p[n]; }, static_cast<std::size_t>(counts), random.uniform()));
            if (count == 0) continue;
            occupied.push_back({tile, count, random});
            tiles.push_back(tile);
        }
        if (occupied.empty()) return;
        const TileReader reader = chain_.ask(tiles, drawn_);
        for (std::size_t k = 0; k < occupied.size(); ++k) fill(occupied[k], reader, static_cast<std::int64_t>(k), turn);
    }

    void fill(Occupied& at, const TileReader& reader, std::int64_t place, std::int64_t turn) {
        std::vector<encoder::DrawnSource> in_tile;
        const auto side = static_cast<double>(chain_.shape().tile_px);
        const std::size_t first = sources_.size();
        for (std::int64_t m = 0; m < at.count; ++m) {
            const std::vector<TilePart> parts = reader.parts(place, at.tile, at.count, m);
            const TilePart& part =
                parts[pick([&](std::size_t c) { return parts[c].weight; }, parts.size(), at.random.uniform())];
            const double u = truncated_normal_quantile(at.random.uniform(), part.u_mean, part.u_sd);
            const double v = truncated_normal_quantile(at.random.uniform(), part.v_mean, part.v_sd);
            const double ln_flux =
                encoder::NormalAbove{part.ln_flux_mean, part.ln_flux_sd, part.ln_flux_low}.quantile(at.random.uniform());
            in_tile.push_back({static_cast<float>(u), static_cast<float>(v), static_cast<float>(ln_flux - chain_.shape().ln_noise)});
            sources_.push_back({sample_,
                                at.tile,
                                static_cast<std::uint32_t>(number(at.tile)),
                                side * (at.tile.col + u) - 0.5,
                                side * (at.tile.row + v) - 0.5,
                                ln_flux,
                                false,
                                {}});
        }
        std::stable_sort(sources_.begin() + static_cast<std::ptrdiff_t>(first), sources_.end(),
                         [](const SampledSource& a, const SampledSource& b) { return a.ln_flux_e > b.ln_flux_e; });
        drawn_.set(at.tile.row, at.tile.col, in_tile);
        const auto reach = static_cast<std::int32_t>(chain_.shape().reach);
        for (std::int32_t row = at.tile.row - reach; row <= at.tile.row + reach; ++row) {
            for (std::int32_t col = at.tile.col - reach; col <= at.tile.col + reach; ++col) {
                const bool on_grid = row >= 0 && col >= 0 && row < chain_.shape().rows && col < chain_.shape().cols;
                if (on_grid && encoder::colour_of(row, col) > turn) told_[number({row, col})] = 1;
            }
        }
    }

    const TileChain& chain_;
    const std::vector<EmptyTurn>& empty_;
    DrawKey key_;
    std::int32_t sample_;
    encoder::DrawnTiles drawn_;
    std::vector<char> told_;     ///< tiles with a source in what they are told
    std::vector<SampledSource> sources_;
};

}  // namespace

RandomStream stream_of(const DrawKey& key, StreamPurpose purpose, std::int32_t sample, std::uint32_t tile, std::uint32_t slot) {
    // 22 bits of the tile's number stand beside the slot, the others beside the sample.
    constexpr std::uint32_t k_bits = 22, k_low = (1u << k_bits) - 1;
    return {key.seed, purpose, static_cast<std::uint32_t>(sample) | tile >> k_bits << 20, key.field, (tile & k_low) * 4 + slot};
}

std::vector<std::vector<SampledSource>> draw_sources(const TileChain& chain, const DrawKey& key, std::int64_t samples) {
    const std::vector<EmptyTurn> empty = ask_empty(chain);
    std::vector<std::vector<SampledSource>> draws(static_cast<std::size_t>(samples));
    tile::for_each_on_one_thread(samples, [&](std::int64_t k) {
        draws[static_cast<std::size_t>(k)] = Draw{chain, empty, key, static_cast<std::int32_t>(k)}.run();
    });
    return draws;
}

void draw_types_and_shapes(const SourceReader& reader, const DrawKey& key, std::vector<SampledSource>& sources) {
    std::vector<encoder::GivenSource> given;
    for (const SampledSource& s : sources) {
        given.push_back({.x_px = s.x_px, .y_px = s.y_px, .ln_flux_above_noise = s.ln_flux_e - reader.ln_noise()});
    }
    const std::vector<TypeAndDraw> kinds = reader.draw(given, [&](std::size_t k) {
        // Tiles hold few sources: a tile's streams are told apart by the place among them.
        const SampledSource& s = sources[k];
        std::uint32_t slot = 0;
        while (k > slot && sources[k - slot - 1].tile_number == s.tile_number && sources[k - slot - 1].sample == s.sample) ++slot;
        return stream_of(key, StreamPurpose::posterior_kind, s.sample, s.tile_number, slot);
    });
    for (std::size_t k = 0; k < sources.size(); ++k) {
        sources[k].is_star = kinds[k].is_star;
        sources[k].latents = kinds[k].latents;
    }
}

}  // namespace bliss::inference
