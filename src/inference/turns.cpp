#include "bliss/inference/turns.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/error.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace bliss::inference {
namespace {

/// From this probability on a tile is taken to hold a source.
constexpr double k_decided = 0.5;
/// A tile so sure of its source leaves nothing to its neighbours that matters.
constexpr double k_sure = 0.9995;
/// Claims of single tiles are kept down to this share of the floor, since several may join.
constexpr double k_share_before_joining = 0.25;
/// Contexts made at once on one thread.
constexpr std::int64_t k_contexts_per_batch = 4096;

/// What a tile says, given what was decided in earlier turns.
struct Claim {
    Candidate candidate;
    std::int64_t turn = 0;
    bool decided = false;
    bool taken = false;    ///< joined to another
};

std::vector<encoder::DrawnSource> drawn_of(const std::vector<Candidate>& claims, const TileChain& chain) {
    std::vector<encoder::DrawnSource> out;
    for (const Candidate& c : claims) {
        const auto in_tile = [&](double px, std::int32_t index) {
            return static_cast<float>(std::clamp((px + 0.5) / static_cast<double>(chain.shape().tile_px) - index, 0.0, 1.0));
        };
        out.push_back({in_tile(c.x_px.mean, c.tile.col), in_tile(c.y_px.mean, c.tile.row),
                       static_cast<float>(c.ln_flux_e.mean - chain.shape().ln_noise)});
    }
    return out;
}

/// The tile whose parts weigh most.
TileIndex most_probable_tile(const Candidate& candidate) {
    std::map<TileIndex, double> weight;
    for (const TilePart& part : candidate.parts) weight[part.tile] += part.weight;
    return std::ranges::max_element(weight, {}, [](const auto& of_tile) { return of_tile.second; })->first;
}

/// A tile's probabilities of 0, 1, ... sources; counts beyond the last one kept are added to it.
catalog::TileRow tile_row(const TileIndex& tile, const std::vector<double>& probabilities) {
    catalog::TileRow row{.field_index = 0, .tile_row = tile.row, .tile_col = tile.col, .p_count = {}};
    for (std::size_t n = 0; n < probabilities.size(); ++n)
        row.p_count[std::min(n, catalog::k_tile_counts - 1)] += static_cast<float>(probabilities[n]);
    return row;
}

/// The mode by turns.
class Mode {
public:
    Mode(const TileChain& chain, double floor, bool with_tiles)
        : chain_{chain}, floor_{floor}, with_tiles_{with_tiles}, drawn_{chain.nothing_drawn()} {
        for (std::int64_t turn = 0; turn < encoder::k_colours; ++turn) decide(turn);
        for (std::size_t k = 0; k < claims_.size(); ++k) of_tile_[claims_[k].candidate.tile].push_back(k);
    }

    FieldSources join() {
        const std::map<std::size_t, std::vector<Claim>> without = ask_without_unsure_ones();
        std::vector<std::size_t> order(claims_.size());
        for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
        // Decided ones first, then by probability.
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return std::tuple(!claims_[a].decided, -claims_[a].candidate.p_source) <
                   std::tuple(!claims_[b].decided, -claims_[b].candidate.p_source);
        });
        std::vector<Candidate> joined;
        for (const std::size_t k : order) {
            if (claims_[k].taken) continue;
            claims_[k].taken = true;
            const auto found = without.find(k);
            const Candidate whole = join_around(claims_[k], found == without.end() ? std::vector<Claim>{} : found->second);
            expected_ += whole.p_source;
            if (whole.p_source >= floor_) joined.push_back(whole);
        }
        std::stable_sort(joined.begin(), joined.end(), [](const Candidate& a, const Candidate& b) {
            return std::tie(a.tile, a.slot) < std::tie(b.tile, b.slot);
        });
        std::ranges::sort(tiles_, {}, [](const catalog::TileRow& row) { return TileIndex{row.tile_row, row.tile_col}; });
        FieldSources out{std::vector<Source>(joined.size()), expected_, std::move(tiles_)};
        tile::for_each_on_one_thread(std::ssize(joined), [&](std::int64_t i) {
            const auto k = static_cast<std::size_t>(i);
            out.sources[k] = summarize(joined[k], chain_.shape().tile_px);
        });
        return out;
    }

private:
    /// Asks all tiles of a turn and takes those with a source to hold it.
    void decide(std::int64_t turn) {
        const std::vector<TileIndex> tiles = chain_.tiles_of_turn(turn);
        if (tiles.empty()) return;
        const TileReader reader = chain_.ask(tiles, drawn_);
        for (std::size_t k = 0; k < tiles.size(); ++k) {
            const auto place = static_cast<std::int64_t>(k);
            const TileCount count = reader.count(place);
            expected_ += count.expected;
            if (with_tiles_) tiles_.push_back(tile_row(tiles[k], reader.probabilities(place)));
            if (!(count.any >= k_share_before_joining * floor_)) continue;
            std::vector<Candidate> claims = reader.claims(place, tiles[k]);
            const bool decided = count.any >= k_decided;
            if (decided) drawn_.set(tiles[k].row, tiles[k].col, drawn_of(claims, chain_));
            for (Candidate& claim : claims) {
                expected_ -= claim.p_source;  // comes back with what it is joined to
                claims_.push_back({std::move(claim), turn, decided, false});
            }
        }
    }

    /// What tiles of later turns around each decided but unsure tile say when that one is taken to be empty.
    std::map<std::size_t, std::vector<Claim>> ask_without_unsure_ones() {
        std::vector<TileIndex> tiles;
        std::vector<std::size_t> asked_for;
        std::vector<float> contexts;
        if (chain_.shape().reach > 0) {
            for (std::size_t k = 0; k < claims_.size(); ++k) {
                const Candidate& c = claims_[k].candidate;
                if (!claims_[k].decided || c.slot != 0 || c.p_source >= k_sure) continue;
                const auto held = drawn_.sources(c.tile.row, c.tile.col);
                const std::vector<encoder::DrawnSource> sources(held.begin(), held.end());
                drawn_.set(c.tile.row, c.tile.col, {});
                std::vector<TileIndex> around;
                for_each_around(c.tile, [&](const TileIndex& tile) {
                    const bool later = encoder::colour_of(tile.row, tile.col) > claims_[k].turn;
                    if (later && chain_.sees(tile) && drawn_.count(tile.row, tile.col) == 0) around.push_back(tile);
                });
                chain_.append_contexts(around, drawn_, contexts);
                drawn_.set(c.tile.row, c.tile.col, sources);
                tiles.insert(tiles.end(), around.begin(), around.end());
                asked_for.insert(asked_for.end(), around.size(), k);
            }
        }
        std::map<std::size_t, std::vector<Claim>> out;
        if (tiles.empty()) return out;
        const TileReader reader = chain_.ask(tiles, contexts);
        for (std::size_t i = 0; i < tiles.size(); ++i) {
            const auto place = static_cast<std::int64_t>(i);
            if (reader.count(place).any < k_share_before_joining * floor_) continue;
            out[asked_for[i]].push_back(
                {reader.claims(place, tiles[i]).front(), encoder::colour_of(tiles[i].row, tiles[i].col), false, false});
        }
        return out;
    }

    /// The leader with the claims of its neighbours on the same source, in the order of turns.
    Candidate join_around(const Claim& leader, const std::vector<Claim>& without) {
        std::vector<const Claim*> members{&leader};
        const auto fits = [&](const Candidate& c) { return same_source(leader.candidate, c, chain_.shape().tile_px); };
        for_each_around(leader.candidate.tile, [&](const TileIndex& tile) {
            const auto found = of_tile_.find(tile);
            if (found == of_tile_.end()) return;
            for (const std::size_t k : found->second) {
                Claim& other = claims_[k];
                // A later tile that was told of the leader speaks of something else; what it would say without it follows below.
                const bool told = chain_.shape().reach > 0 && leader.decided && other.turn > leader.turn;
                if (other.taken || other.decided || told || !fits(other.candidate)) continue;
                other.taken = true;
                members.push_back(&other);
            }
        });
        for (const Claim& claim : without) {
            if (fits(claim.candidate)) members.push_back(&claim);
        }
        std::stable_sort(members.begin(), members.end(), [](const Claim* a, const Claim* b) { return a->turn < b->turn; });
        Candidate whole = leader.candidate;
        whole.parts.clear();
        whole.p_source = 0;
        whole.tiles = 0;
        double none_so_far = 1;
        for (const Claim* const member : members) {
            absorb(whole, member->candidate, none_so_far);
            none_so_far *= 1 - member->candidate.p_source;
        }
        // An undecided tile has one claim: what moves there takes the name of the claim it joined.
        if (!leader.decided) whole.tile = most_probable_tile(whole);
        return whole;
    }

    template <class Visit>
    void for_each_around(const TileIndex& tile, const Visit& visit) const {
        for (std::int32_t row = tile.row - 1; row <= tile.row + 1; ++row) {
            for (std::int32_t col = tile.col - 1; col <= tile.col + 1; ++col) {
                const bool on_grid = row >= 0 && col >= 0 && row < chain_.shape().rows && col < chain_.shape().cols;
                if (on_grid && (row != tile.row || col != tile.col)) visit(TileIndex{row, col});
            }
        }
    }

    const TileChain& chain_;
    double floor_;
    bool with_tiles_;
    std::vector<catalog::TileRow> tiles_;
    encoder::DrawnTiles drawn_;
    std::vector<Claim> claims_;
    std::map<TileIndex, std::vector<std::size_t>> of_tile_;
    double expected_ = 0;
};

}  // namespace

std::vector<TileIndex> TileChain::tiles_of_turn(std::int64_t turn) const {
    std::vector<TileIndex> out;
    for (std::int64_t row = 0; row < shape_.rows; ++row) {
        for (std::int64_t col = 0; col < shape_.cols; ++col) {
            const TileIndex tile{static_cast<std::int32_t>(row), static_cast<std::int32_t>(col)};
            if (encoder::colour_of(row, col) == turn && sees(tile)) out.push_back(tile);
        }
    }
    return out;
}

void TileChain::append_contexts(const std::vector<TileIndex>& tiles, const encoder::DrawnTiles& drawn, std::vector<float>& out) const {
    if (shape_.reach == 0) return;
    const std::int64_t length = encoder::context_length(shape_.reach, shape_.max_sources);
    const std::size_t begin = out.size();
    out.resize(begin + tiles.size() * static_cast<std::size_t>(length));
    const std::int64_t batches = (std::ssize(tiles) + k_contexts_per_batch - 1) / k_contexts_per_batch;
    tile::for_each_on_one_thread(batches, [&](std::int64_t batch) {
        const std::int64_t last = std::min(std::ssize(tiles), (batch + 1) * k_contexts_per_batch);
        for (std::int64_t k = batch * k_contexts_per_batch; k < last; ++k) {
            const TileIndex& tile = tiles[static_cast<std::size_t>(k)];
            encoder::write_context(drawn, tile.row, tile.col, shape_.reach, shape_.max_sources,
                                   out.data() + begin + static_cast<std::size_t>(k * length));
        }
    });
}

TileReader TileChain::ask(const std::vector<TileIndex>& tiles, const encoder::DrawnTiles& drawn) const {
    std::vector<float> contexts;
    append_contexts(tiles, drawn, contexts);
    return ask(tiles, contexts);
}

NetworkChain::NetworkChain(encoder::DetectionEncoder network, const encoder::EncoderConfig& config,
                           const encoder::ImageConditions& conditions, at::Tensor trunk, const PriorShift& shift, std::vector<char> seen)
    : TileChain{{.rows = trunk.size(0),
                 .cols = trunk.size(1),
                 .tile_px = config.tile_px,
                 .max_sources = config.max_sources,
                 .reach = config.reach,
                 .ln_noise = conditions.ln_noise.item<double>()},
                std::move(seen)},
      network_{std::move(network)},
      conditions_{conditions},
      trunk_{std::move(trunk)},
      shift_{shift} {}

TileReader NetworkChain::ask(const std::vector<TileIndex>& tiles, const std::vector<float>& contexts) const {
    const torch::NoGradGuard no_grad;
    std::vector<std::int64_t> numbers;
    numbers.reserve(tiles.size());
    for (const TileIndex& tile : tiles) numbers.push_back(tile.row * shape().cols + tile.col);
    const at::Tensor picked = trunk_.flatten(0, 1).index_select(0, torch::tensor(numbers).to(trunk_.device()));
    at::Tensor told;
    if (shape().reach > 0) {
        const std::int64_t length = encoder::context_length(shape().reach, shape().max_sources);
        told = torch::from_blob(const_cast<float*>(contexts.data()), {std::ssize(tiles), length}).to(trunk_.device());
    }
    encoder::DetectionEncoder network = network_;  // a handle: asking does not change it
    encoder::TilePosterior q = ask_head(network, picked, told, conditions_).plain();
    if (!q.count_logits.isfinite().all().item<bool>()) {
        throw DataError("the network's answer for a tile is not finite; check the image's units and background, and the model");
    }
    if (shift_.active()) {
        // Elementwise functions round differently where a thread's share ends, so they run on one thread.
        tile::for_each_on_one_thread(1, [&](std::int64_t) { q = shift_.applied(q); });
    }
    return {q, shape().tile_px};
}

FieldSources find_sources(const TileChain& chain, double floor, bool with_tiles) { return Mode{chain, floor, with_tiles}.join(); }

}  // namespace bliss::inference
