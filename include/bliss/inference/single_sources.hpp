#pragma once

#include "bliss/core/random.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/inference/candidates.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/inference/prior_shift.hpp"
#include "bliss/simulator/galaxy_decoder.hpp"

#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace bliss::inference {

/// A galaxy's shape in short: its marginal posterior, given that it is a galaxy.
struct ShapeMarginals {
    Marginal half_light_radius_px;  ///< circularised
    Marginal axis_ratio;
    Marginal angle_rad;  ///< of the major axis, from +x towards +y; the median in [0, pi), the others next to it
};

/// What the encoders of single sources say of one.
struct TypeAndShape {
    double p_star = 0;
    std::optional<ShapeMarginals> shape;  ///< by models with a galaxy encoder
};

/// One draw of a source's type and shape.
struct TypeAndDraw {
    bool is_star = false;
    std::vector<float> latents;  ///< v (D) of a galaxy, where the model has their encoder
};

/// Asks the encoder of single sources about those of a frame. Batches are each computed on one thread.
class SourceReader {
public:
    /// The arguments must outlive it.
    SourceReader(const encoder::Model& model, const FrameInput& input, const survey::Psf& psf, const PriorShift& shift);

    /// P(star) of each.
    [[nodiscard]] std::vector<double> p_star(std::span<const encoder::GivenSource> sources) const;

    /// The random numbers of source k: what is drawn depends on nothing else.
    using StreamOf = std::function<RandomStream(std::size_t k)>;

    /// P(star) of each, and the marginals of its shape, over draws.
    [[nodiscard]] std::vector<TypeAndShape> read(std::span<const encoder::GivenSource> sources, const StreamOf& random) const;

    /// A type and a shape of each.
    [[nodiscard]] std::vector<TypeAndDraw> draw(std::span<const encoder::GivenSource> sources, const StreamOf& random) const;

    [[nodiscard]] double ln_noise() const { return ln_noise_; }

    /// Gives galaxies the light of their latents and fluxes; without latents that of a round one of the prior's median size.
    void light_up(std::span<simulator::Source> sources) const;

private:
    /// Random numbers for shapes of sources (ShapePosterior::draw), each source's from its own stream. @return (sources, draws, D)
    [[nodiscard]] at::Tensor shape_numbers(std::span<RandomStream> streams, std::int64_t draws) const;

    [[nodiscard]] encoder::SourcePosterior ask(const encoder::SourceWindows& seen) const;
    /// P(star) of a batch of sources, the first of which is `first`.
    [[nodiscard]] std::vector<double> stars_of(std::span<const encoder::GivenSource> sources, std::size_t first,
                                               const encoder::SourcePosterior& q) const;
    /// Shape latents of a batch of sources. @param numbers see shape_numbers @return (sources, draws, D - 1)
    [[nodiscard]] static at::Tensor drawn_shapes(const encoder::SourcePosterior& q, const at::Tensor& numbers);

    /// Calls `work(first, windows)` for batches of sources, each on one thread.
    void for_each_batch(std::span<const encoder::GivenSource> sources,
                        const std::function<void(std::size_t, const encoder::SourceWindows&)>& work) const;
    [[nodiscard]] encoder::SourceWindows windows(std::span<const encoder::GivenSource> sources) const;

    const encoder::Model& model_;
    const FrameInput& input_;
    PriorShift shift_;
    double ln_noise_;
    at::Tensor psf_profile_;  ///< (1, k_profile_length + 1)
    std::optional<simulator::GalaxyDecoder> decoder_;
};

}  // namespace bliss::inference
