#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/core/image.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/inference/config.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/survey/frame.hpp"

#include <vector>

namespace bliss::inference {

struct DrawKey;
struct StarField;
class SourceReader;
class TileChain;

/// A model made ready to catalogue frames.
class Cataloguer {
public:
    /// @param precision float32 or bfloat16 (encoder::choose_precision) @param device that the networks compute on (encoder::choose_device)
    /// @throws ConfigError when the configuration does not fit the model.
    Cataloguer(encoder::Model model, const CatalogConfig& config, encoder::Precision precision, c10::Device device = c10::kCPU);

    /// Wall-clock seconds of the stages of one frame.
    struct Timing {
        double prepare_s = 0, detect_s = 0, candidates_s = 0, likelihood_s = 0, classify_s = 0, samples_s = 0, reconstruct_s = 0;
    };

    struct Result {
        catalog::FieldRow field{};
        std::vector<catalog::SourceRow> sources;   ///< in the order of sky pixels (catalog::sort_by_sky), then of tiles
        std::vector<catalog::SampleRow> samples;   ///< of all draws, one after the other
        std::vector<catalog::TileRow> tiles;       ///< where asked for; of crowded fields what the networks say, not the likelihood
        Image<float> expected;                     ///< posterior mean of the sources' electrons, where asked for
        Timing timing;
    };

    /// Frame -> tiles, turn by turn -> candidates joined over borders -> star or galaxy -> shapes -> rows; then the joint draws,
    /// and how well they explain the image. By models of stars alone: -> tiles, turn by turn -> draws from the likelihood -> rows.
    /// @throws DataError when the model is of another band. Warns where the frame lies outside what the model was trained on.
    [[nodiscard]] Result catalogue(const survey::Frame& frame);

    [[nodiscard]] const encoder::Model& model() const { return model_; }

    /// Whether fields are drawn from the likelihood itself, with their density where none is given.
    [[nodiscard]] bool by_likelihood() const { return by_likelihood_; }

private:
    struct Draws {
        std::vector<catalog::SampleRow> rows;                    ///< of all draws, one after the other
        std::vector<std::vector<simulator::Source>> looked_at;   ///< sources of the first draws, which the image is held against
    };
    [[nodiscard]] Draws sample(const survey::Frame& frame, const TileChain& chain, const SourceReader& reader, const DrawKey& key) const;
    [[nodiscard]] Draws sample(const survey::Frame& frame, const StarField& field) const;
    /// Says how well the draws explain the image. @param diffuse_e light that is not of sources (H, W), or empty
    void explain(const survey::Frame& frame, const Draws& draws, const Image<float>& diffuse_e, Result& result) const;

    encoder::Model model_;
    CatalogConfig config_;
    c10::Device device_;
    bool by_likelihood_;   ///< the model is one of stars alone, and its fields are drawn from the likelihood
};

}  // namespace bliss::inference
