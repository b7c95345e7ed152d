#include "bliss/catalog/matching.hpp"

#include "bliss/catalog/assignment.hpp"
#include "bliss/core/check.hpp"

#include "nanoflann_within.hpp"

#include <nanoflann.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace bliss::catalog {

namespace {

using survey::PixelPosition;

/// The positions as nanoflann asks for them; only finite ones.
struct Cloud {
    std::vector<PixelPosition> points;
    std::vector<std::size_t> original;  ///< place in the list given

    explicit Cloud(std::span<const PixelPosition> positions) {
        for (std::size_t i = 0; i < positions.size(); ++i) {
            if (!std::isfinite(positions[i].x_px) || !std::isfinite(positions[i].y_px)) continue;
            points.push_back(positions[i]);
            original.push_back(i);
        }
    }
    [[nodiscard]] std::size_t kdtree_get_point_count() const { return points.size(); }
    [[nodiscard]] double kdtree_get_pt(std::size_t i, std::size_t axis) const { return axis == 0 ? points[i].x_px : points[i].y_px; }
    template <class Box>
    bool kdtree_get_bbox(Box&) const {
        return false;
    }
};

using MayMatch = std::function<bool(std::size_t, std::size_t)>;

/// All pairs closer than the limit in x and y; cost is the Euclidean distance.
std::vector<Edge> candidates(std::span<const PixelPosition> first, std::span<const PixelPosition> second, double limit_px,
                             const MayMatch& may_match) {
    const Cloud cloud{second};
    std::vector<Edge> edges;
    if (cloud.points.empty()) return edges;
    using Distance = nanoflann::L2_Simple_Adaptor<double, Cloud>;
    nanoflann::KDTreeSingleIndexAdaptor<Distance, Cloud, 2, std::size_t> tree{2, cloud};
    tree.buildIndex();
    for (std::size_t i = 0; i < first.size(); ++i) {
        const double query[2] = {first[i].x_px, first[i].y_px};
        if (!std::isfinite(query[0]) || !std::isfinite(query[1])) continue;
        Within within{2 * limit_px * limit_px, {}};
        tree.radiusSearchCustomCallback(query, within);
        std::ranges::sort(within.found);
        for (const std::size_t j : within.found) {
            const double dx = cloud.points[j].x_px - query[0];
            const double dy = cloud.points[j].y_px - query[1];
            if (std::max(std::abs(dx), std::abs(dy)) >= limit_px || (may_match && !may_match(i, cloud.original[j]))) continue;
            edges.push_back({i, cloud.original[j], std::hypot(dx, dy)});
        }
    }
    return edges;
}

/// Groups of nodes joined by edges (union-find).
class Groups {
public:
    explicit Groups(std::size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), std::size_t{0}); }
    std::size_t find(std::size_t node) {
        while (parent_[node] != node) node = parent_[node] = parent_[parent_[node]];
        return node;
    }
    void join(std::size_t a, std::size_t b) { parent_[find(a)] = find(b); }

private:
    std::vector<std::size_t> parent_;
};

/// Numbers nodes 0, 1, ... in the order they are first asked for.
class Renumbering {
public:
    std::size_t operator()(std::size_t node) { return numbers_.try_emplace(node, numbers_.size()).first->second; }
    [[nodiscard]] std::size_t size() const { return numbers_.size(); }

private:
    std::map<std::size_t, std::size_t> numbers_;
};

}  // namespace

std::vector<MatchedPair> match_positions(std::span<const PixelPosition> first, std::span<const PixelPosition> second, double limit_px,
                                         const MayMatch& may_match) {
    BLISS_EXPECT(limit_px > 0, "a match has a limit");
    const std::vector<Edge> edges = candidates(first, second, limit_px, may_match);
    Groups groups{first.size() + second.size()};
    for (const Edge& edge : edges) groups.join(edge.left, first.size() + edge.right);
    std::map<std::size_t, std::vector<Edge>> components;
    for (const Edge& edge : edges) components[groups.find(edge.left)].push_back(edge);

    std::vector<MatchedPair> pairs;
    for (const auto& [root, component] : components) {
        Renumbering left;
        Renumbering right;
        std::vector<Edge> local;
        for (const Edge& edge : component) local.push_back({left(edge.left), right(edge.right), edge.cost});
        for (const std::size_t e : assign(left.size(), right.size(), local))
            pairs.push_back({component[e].left, component[e].right, component[e].cost});
    }
    std::ranges::sort(pairs, {}, &MatchedPair::first);
    return pairs;
}

}  // namespace bliss::catalog
